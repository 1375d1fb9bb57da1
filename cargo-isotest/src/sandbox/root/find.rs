//! From what `--root` names to a directory.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::cache::Cache;
use super::error::RootError;
use super::image::{self, Image, SumOf};
use super::stream::{HashingReader, decompressed};
use super::unpack::{LIMITS, UnpackError, Unpacker, Whiteouts};

/// The root filesystem that `named` is, or holds; `cache` is the user's cache directory. `tell`
/// is called where it has to be unpacked, before it is.
pub fn find(named: &Path, cache: Option<&Path>, tell: &dyn Fn()) -> Result<PathBuf, RootError> {
    let read = |error| RootError::Read(named.to_owned(), error);
    let path = named.canonicalize().map_err(read)?;
    let kind = fs::metadata(&path).map_err(read)?.file_type();
    if kind.is_dir() && !image::is_image(&path) {
        // Whether it may be looked into.
        fs::read_dir(&path).map_err(read)?;
        return Ok(path);
    }
    let cache = Cache::below(cache.ok_or_else(|| RootError::NoCache(path.clone()))?);
    if kind.is_dir() {
        let image = read_image(&path, &path)?;
        let found = cache.get(&image.digest).map_err(|error| cache_error(&cache, error))?;
        return match found {
            Some(root) => Ok(root),
            None => {
                tell();
                unpack_image(&path, &image, &image.digest, &cache)
            }
        };
    }
    if !kind.is_file() {
        return Err(read(io::Error::other("neither a directory nor an archive")));
    }
    File::open(&path).map_err(read)?;
    let cached = |error| cache_error(&cache, error);
    let digest = cache.sum(&path).map_err(cached)?;
    match cache.get(&digest).map_err(cached)? {
        Some(root) => Ok(root),
        None => {
            tell();
            unpack_archive(&path, &digest, &cache)
        }
    }
}

fn cache_error(cache: &Cache, error: io::Error) -> RootError {
    RootError::Cache(cache.directory().to_owned(), error)
}

/// Unpacks a file: a root filesystem, or an image.
fn unpack_archive(path: &Path, digest: &str, cache: &Cache) -> Result<PathBuf, RootError> {
    let cached = |error| cache_error(cache, error);
    let unpack = |error: UnpackError| RootError::Unpack(path.to_owned(), error);
    let directory = cache.unpacking().map_err(cached)?;
    let unpacked = directory.path().join("archive");
    fs::create_dir(&unpacked).map_err(cached)?;
    let stream = File::open(path).and_then(decompressed).map_err(|error| unpack(error.into()))?;
    Unpacker::new(&unpacked, LIMITS).unpack(stream, Whiteouts::Kept).map_err(unpack)?;
    if fs::read_dir(&unpacked).map_err(cached)?.next().is_none() {
        return Err(RootError::Read(path.to_owned(), io::Error::other("the archive is empty")));
    }
    if image::is_image(&unpacked) {
        return unpack_image(path, &read_image(path, &unpacked)?, digest, cache);
    }
    cache.put(digest, &unpacked).map_err(cached)
}

/// The image in a directory, which came with what `--root` names.
fn read_image(named: &Path, directory: &Path) -> Result<Image, RootError> {
    image::read(directory).map_err(|error| RootError::Image(named.to_owned(), error))
}

/// Unpacks the layers of an image, by the image's digest or by that of the file it came in.
fn unpack_image(
    named: &Path,
    image: &Image,
    digest: &str,
    cache: &Cache,
) -> Result<PathBuf, RootError> {
    let wrong = |error| RootError::Image(named.to_owned(), error);
    let cached = |error| cache_error(cache, error);
    let unpack = |error: UnpackError| RootError::Unpack(named.to_owned(), error);
    let place = cache.unpacking().map_err(cached)?;
    let root = place.path().join("root");
    fs::create_dir(&root).map_err(cached)?;
    let mut unpacker = Unpacker::new(&root, LIMITS);
    for layer in &image.layers {
        let stream = decompressed(image.open(layer).map_err(wrong)?);
        let (stream, sum) = HashingReader::new(stream.map_err(|error| unpack(error.into()))?);
        unpacker.unpack(stream, Whiteouts::Applied).map_err(unpack)?;
        let found = sum.take().expect("it has been read to its end");
        layer.check(SumOf::Archive, &found).map_err(wrong)?;
    }
    cache.put(digest, &root).map_err(cached)
}

/// Of what leads to `path`, the first that is there in a root filesystem and no directory: a mount
/// point below it would hide it.
pub fn find_conflict(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    let conflict = above.into_iter().find(|parent| {
        let inside = root.join(parent.strip_prefix("/").unwrap_or(parent));
        fs::symlink_metadata(inside).is_ok_and(|found| !found.is_dir())
    });
    conflict.map(Path::to_owned)
}
