//! Images of containers: from a directory as image-spec's `image-layout.md` describes it, or from
//! the output of `docker save`, to the list of layers.
//!
//! Such a directory is not trusted: only regular files below it are opened, whatever links, FIFOs
//! and devices it has.

use std::collections::HashSet;
use std::env::consts::ARCH;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use isotest_core::escape::escape;
use isotest_core::untrusted::Dir;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::resolve::{Links, ResolveError, resolve, shown};
use super::stream::{sum_of, sum_of_text};

/// An image for this machine.
#[derive(Debug)]
pub struct Image {
    /// The directory of its files.
    directory: Dir,
    /// The SHA-256 of what names all of its content.
    pub digest: String,
    /// Its layers, the lowest first.
    pub layers: Vec<ImageLayer>,
}

/// A layer: a tar archive, compressed or not.
#[derive(Debug)]
pub struct ImageLayer {
    /// The file, from the directory of the image.
    path: PathBuf,
    /// Its SHA-256.
    sum: String,
    /// Of what.
    sum_of: SumOf,
}

/// Input of a layer's digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SumOf {
    /// The file.
    File,
    /// The archive without its compression.
    Archive,
}

impl Image {
    /// Opens the file of a layer; fails where it is not what its digest says.
    pub fn open(&self, layer: &ImageLayer) -> Result<File, ImageError> {
        let open = || open(&self.directory, &layer.path);
        if layer.sum_of == SumOf::File {
            let found = sum_of(open()?);
            let found = found.map_err(|error| ImageError::Read(layer.path.clone(), error))?;
            layer.check(SumOf::File, &found)?;
        }
        open()
    }
}

impl ImageLayer {
    /// Fails where its digest is of that, and another one.
    pub fn check(&self, of: SumOf, found: &str) -> Result<(), ImageError> {
        match self.sum_of == of && self.sum != found {
            true => Err(ImageError::Mismatch(self.sum.clone())),
            false => Ok(()),
        }
    }
}

/// An image cannot be used.
#[derive(Debug)]
pub enum ImageError {
    /// A file of it cannot be read.
    Read(PathBuf, io::Error),
    /// A file of it is not what it should be.
    Json(PathBuf, serde_json::Error),
    /// A path in it leads out of it.
    Escapes(PathBuf),
    /// A digest is none, or of another kind than SHA-256.
    Digest(String),
    /// A file is not what its digest says.
    Mismatch(String),
    /// It has nothing for this machine.
    Platform(Vec<String>),
    /// It has more than one image for this machine.
    Ambiguous(usize),
    /// Its lists of layers differ.
    Layers,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageError::Read(path, cause) => {
                write!(f, "`{}`: {}", shown(path), escape(&cause.to_string()))
            }
            ImageError::Json(path, cause) => {
                write!(f, "`{}`: {}", shown(path), escape(&cause.to_string()))
            }
            ImageError::Escapes(path) => {
                write!(f, "the path `{}` in it leads out of it", shown(path))
            }
            ImageError::Digest(digest) => write!(f, "`{}` is not a SHA-256 digest", escape(digest)),
            ImageError::Mismatch(digest) => {
                write!(f, "the content of `sha256:{digest}` has another digest")
            }
            ImageError::Platform(platforms) => write!(
                f,
                "it has nothing for linux/{}, only: {}",
                architecture(),
                escape(&platforms.join(", "))
            ),
            ImageError::Ambiguous(count) => {
                write!(f, "it holds {count} images for this machine\nhint: save one by itself")
            }
            ImageError::Layers => write!(f, "its manifest and its configuration differ in layers"),
        }
    }
}

/// `index.json`, and an index among the blobs.
#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize, Clone)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Deserialize)]
struct ImageManifest {
    layers: Vec<Descriptor>,
}

/// One image of `manifest.json`, which `docker save` writes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: PathBuf,
    layers: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct ImageConfig {
    rootfs: LayerSums,
}

#[derive(Deserialize)]
struct LayerSums {
    diff_ids: Vec<String>,
}

const LAYOUT: &str = "oci-layout";
const INDEX: &str = "index.json";
const SAVED: &str = "manifest.json";

/// True if a directory holds an image, and not a root filesystem. A file that is not regular
/// counts: a later error names it.
pub fn is_image(directory: &Path) -> bool {
    let has = |name: &str| directory.join(name).symlink_metadata().is_ok();
    let is_root = ["bin", "etc", "usr"].iter().any(|name| directory.join(name).exists());
    !is_root && ((has(LAYOUT) && has(INDEX)) || has(SAVED))
}

/// The image that a directory holds.
pub fn read(path: &Path) -> Result<Image, ImageError> {
    let cannot = |error| ImageError::Read(path.to_owned(), error);
    let directory = Dir::open(path).map_err(cannot)?;
    let has = |name: &str| directory.stat(name.as_ref()).is_ok();
    let (digest, layers) = match has(LAYOUT) && has(INDEX) {
        true => read_layout(&directory)?,
        false => read_saved(&directory, path)?,
    };
    Ok(Image { directory, digest, layers })
}

/// The digest and the layers of an image.
type DigestAndLayers = (String, Vec<ImageLayer>);

fn read_layout(directory: &Dir) -> Result<DigestAndLayers, ImageError> {
    open(directory, Path::new(LAYOUT))?;
    let mut index: Index = parse(Path::new(INDEX), &text(directory, Path::new(INDEX))?)?;
    // An index may name another one, as that of an image for many platforms does.
    const MAX_NESTED: usize = 4;
    for _ in 0..MAX_NESTED {
        let chosen = choose(index.manifests)?;
        let (path, blob) = blob(directory, &chosen.digest)?;
        if !chosen.media_type.contains("index") && !chosen.media_type.contains("manifest.list") {
            let manifest: ImageManifest = parse(&path, &blob)?;
            let layers = manifest.layers.iter().map(layer_of_layout);
            return Ok((sum_of_text(&blob), layers.collect::<Result<_, _>>()?));
        }
        index = parse(&path, &blob)?;
    }
    Err(ImageError::Ambiguous(MAX_NESTED))
}

/// The one manifest for this machine. One that names no platform is for any.
fn choose(manifests: Vec<Descriptor>) -> Result<Descriptor, ImageError> {
    let platform = |descriptor: &Descriptor| {
        descriptor
            .platform
            .as_ref()
            .map(|platform| format!("{}/{}", platform.os, platform.architecture))
    };
    let wanted = format!("linux/{}", architecture());
    let platforms = manifests.iter().filter_map(platform).collect();
    let mut seen = HashSet::new();
    let mut fitting = manifests.into_iter().filter(|descriptor| {
        platform(descriptor).is_none_or(|platform| platform == wanted)
            && seen.insert(descriptor.digest.clone())
    });
    match (fitting.next(), fitting.count()) {
        (Some(only), 0) => Ok(only),
        (Some(_), more) => Err(ImageError::Ambiguous(more + 1)),
        (None, _) => Err(ImageError::Platform(platforms)),
    }
}

/// This machine's architecture in the words of Go, which images use.
pub fn architecture() -> &'static str {
    match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

fn layer_of_layout(layer: &Descriptor) -> Result<ImageLayer, ImageError> {
    let (sum, path) = blob_path(&layer.digest)?;
    Ok(ImageLayer { path, sum, sum_of: SumOf::File })
}

/// A small blob, whose content is what its digest says.
fn blob(directory: &Dir, digest: &str) -> Result<(PathBuf, Vec<u8>), ImageError> {
    let (digest, path) = blob_path(digest)?;
    let blob = text(directory, &path)?;
    match sum_of_text(&blob) == digest {
        true => Ok((path, blob)),
        false => Err(ImageError::Mismatch(digest)),
    }
}

/// The digits of a digest and the file that has it. The digits become a name: they are checked.
fn blob_path(digest: &str) -> Result<(String, PathBuf), ImageError> {
    let digits = sha256(digest).ok_or_else(|| ImageError::Digest(digest.to_owned()))?;
    Ok((digits.to_owned(), Path::new("blobs/sha256").join(digits)))
}

fn sha256(digest: &str) -> Option<&str> {
    let digits = digest.strip_prefix("sha256:")?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (digits.len() == 64 && digits.bytes().all(is_digit)).then_some(digits)
}

fn read_saved(directory: &Dir, path: &Path) -> Result<DigestAndLayers, ImageError> {
    let saved: Vec<SavedImage> = parse(Path::new(SAVED), &text(directory, Path::new(SAVED))?)?;
    let [image] = saved.as_slice() else { return Err(ImageError::Ambiguous(saved.len())) };
    let named = inside(path, &image.config)?;
    let configuration = text(directory, &named)?;
    let sums = parse::<ImageConfig>(&named, &configuration)?.rootfs.diff_ids;
    if sums.len() != image.layers.len() {
        return Err(ImageError::Layers);
    }
    let layers = image.layers.iter().zip(sums).map(|(layer, sum)| {
        let digits = sha256(&sum).ok_or_else(|| ImageError::Digest(sum.clone()))?;
        let path = inside(path, layer)?;
        Ok(ImageLayer { path, sum: digits.to_owned(), sum_of: SumOf::Archive })
    });
    Ok((sum_of_text(&configuration), layers.collect::<Result<_, _>>()?))
}

/// A path that an image names, without the links that stay in the image: older versions of Docker
/// link layers that are the same.
fn inside(directory: &Path, path: &Path) -> Result<PathBuf, ImageError> {
    if path.is_absolute() {
        return Err(ImageError::Escapes(path.to_owned()));
    }
    let found = resolve(directory, path, Links::Beneath).map_err(|astray| match astray {
        ResolveError::Escapes(_) => ImageError::Escapes(path.to_owned()),
        ResolveError::Io(error) => ImageError::Read(path.to_owned(), error),
    })?;
    Ok(found.strip_prefix(directory).map_or_else(|_| path.to_owned(), Path::to_owned))
}

fn open(directory: &Dir, path: &Path) -> Result<File, ImageError> {
    directory.file(path).map_err(|error| ImageError::Read(path.to_owned(), error))
}

/// A file that is read as a whole: no list of layers is as long as the limit.
fn text(directory: &Dir, path: &Path) -> Result<Vec<u8>, ImageError> {
    const MAX_BYTES: u64 = 4 << 20;
    directory.read(path, MAX_BYTES).map_err(|error| ImageError::Read(path.to_owned(), error))
}

fn parse<T: DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(text).map_err(|error| ImageError::Json(path.to_owned(), error))
}
