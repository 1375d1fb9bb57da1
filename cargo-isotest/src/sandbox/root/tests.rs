//! Images and tarballs, from what `--root` names to the directory in the cache.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::{Builder, Header};
use tempfile::TempDir;

use super::stream::sum_of_text;
use super::{Cache, find};

/// A tar archive of files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn compressed(data: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(data).unwrap();
    gzip.finish().unwrap()
}

/// The two layers of every image here: the second removes a file of the first.
fn layers() -> [Vec<u8>; 2] {
    [
        archive(&[("etc/release", b"1"), ("etc/old", b"1")]),
        archive(&[("etc/.wh.old", b""), ("bin/sh", b"2")]),
    ]
}

/// A directory with an image, and a cache beside it.
struct Scene(TempDir);

impl Scene {
    fn new() -> Scene {
        let scene = Scene(TempDir::new().unwrap());
        fs::create_dir_all(scene.path("image/blobs/sha256")).unwrap();
        scene
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, data: impl AsRef<[u8]>) {
        fs::write(self.path("image").join(path), data).unwrap();
    }

    /// Adds a blob; the descriptor of it.
    fn blob(&self, kind: &str, data: &[u8]) -> Value {
        let sum = sum_of_text(data);
        self.write(&format!("blobs/sha256/{sum}"), data);
        let kind = format!("application/vnd.oci.image.{kind}");
        json!({ "mediaType": kind, "digest": format!("sha256:{sum}"), "size": data.len() })
    }

    fn manifest(&self) -> Value {
        let layers = layers().map(|layer| self.blob("layer.v1.tar+gzip", &compressed(&layer)));
        let manifest = json!({ "schemaVersion": 2, "layers": layers });
        self.blob("manifest.v1+json", manifest.to_string().as_bytes())
    }

    fn index(&self, manifests: &[Value]) {
        self.write("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
        self.write("index.json", json!({ "manifests": manifests }).to_string());
    }

    /// Output of `docker save` before its version 25.
    fn saved(&self, layers: &[&str], sums: &[String]) {
        self.write("config.json", json!({ "rootfs": { "diff_ids": sums } }).to_string());
        let manifest = json!([{ "Config": "config.json", "RepoTags": null, "Layers": layers }]);
        self.write("manifest.json", manifest.to_string());
    }

    /// The directory of the image as one file.
    fn packed(&self) -> PathBuf {
        let mut builder = Builder::new(Vec::new());
        builder.follow_symlinks(false);
        builder.append_dir_all(".", self.path("image")).unwrap();
        fs::write(self.path("image.tar"), builder.into_inner().unwrap()).unwrap();
        self.path("image.tar")
    }

    fn find(&self, named: &Path) -> Result<PathBuf, String> {
        find(named, Some(&self.path("cache")), &|| ()).map_err(|error| error.to_string())
    }

    /// It is unpacked, and found again.
    #[track_caller]
    fn check(&self, named: &Path) {
        let root = self.find(named).unwrap();
        let read = |path: &str| fs::read_to_string(root.join(path)).ok();
        let found = ["etc/release", "bin/sh", "etc/old"].map(read);
        assert_eq!(found, [Some("1".to_owned()), Some("2".to_owned()), None]);
        fs::write(root.join("mark"), "").unwrap();
        assert_eq!(self.find(named).unwrap(), root);
        assert!(root.join("mark").exists(), "it was unpacked again");
        self.check_nothing_left();
    }

    #[track_caller]
    fn check_nothing_left(&self) {
        let mut left = fs::read_dir(self.path("cache/isotest/roots/unpacking")).unwrap();
        assert!(left.next().is_none(), "something is left");
    }

    /// It is refused with these words, and leaves nothing behind.
    #[track_caller]
    fn check_refused(&self, named: &Path, words: &str) {
        let error = self.find(named).expect_err("it is refused");
        assert!(error.contains(words), "{error}");
        let roots = fs::read_dir(self.path("cache/isotest/roots")).into_iter().flatten().flatten();
        let names = roots.map(|entry| entry.file_name());
        assert_eq!(names.filter(|name| name != "unpacking" && name != "sums").count(), 0);
    }
}

#[test]
fn a_directory_is_taken_as_it_is() {
    let scene = Scene::new();
    assert_eq!(scene.find(scene.0.path()).unwrap(), scene.0.path().canonicalize().unwrap());
}

#[test]
fn a_tarball_is_unpacked_once() {
    let scene = Scene::new();
    let tar = archive(&[("etc/release", b"1"), ("bin/sh", b"2")]);
    fs::write(scene.path("root.tar.gz"), compressed(&tar)).unwrap();
    scene.check(&scene.path("root.tar.gz"));
}

#[test]
fn a_tarball_that_changes_is_another_root() {
    let scene = Scene::new();
    let path = scene.path("root.tar");
    fs::write(&path, archive(&[("etc/release", b"1")])).unwrap();
    let first = scene.find(&path).unwrap();
    fs::write(&path, archive(&[("etc/release", b"22")])).unwrap();
    let second = scene.find(&path).unwrap();
    assert_ne!(first, second);
    assert_eq!(fs::read_to_string(second.join("etc/release")).unwrap(), "22");
}

#[test]
fn a_tarball_that_ends_early_is_refused() {
    let scene = Scene::new();
    let tar = archive(&[("etc/release", &[b'1'; 4096])]);
    fs::write(scene.path("root.tar"), &tar[..2000]).unwrap();
    scene.check_refused(&scene.path("root.tar"), "cannot unpack");
    scene.check_nothing_left();
}

#[test]
fn an_empty_file_is_refused() {
    let scene = Scene::new();
    fs::write(scene.path("root.tar"), "").unwrap();
    scene.check_refused(&scene.path("root.tar"), "the archive is empty");
}

#[test]
fn a_layout_is_unpacked_once() {
    let scene = Scene::new();
    scene.index(&[scene.manifest()]);
    scene.check(&scene.path("image"));
}

#[test]
fn a_packed_layout_is_unpacked_once() {
    let scene = Scene::new();
    scene.index(&[scene.manifest()]);
    scene.check(&scene.packed());
}

#[test]
fn of_many_platforms_this_one_is_taken() {
    let scene = Scene::new();
    let mut ours = scene.manifest();
    let mut other = scene.blob("manifest.v1+json", b"{}");
    let architecture = super::image::architecture();
    ours["platform"] = json!({ "os": "linux", "architecture": architecture });
    other["platform"] = json!({ "os": "linux", "architecture": "vax" });
    let inner = json!({ "manifests": [other, ours] });
    scene.index(&[scene.blob("index.v1+json", inner.to_string().as_bytes())]);
    scene.check(&scene.path("image"));
    scene.index(&[other]);
    let error = scene.find(&scene.path("image")).unwrap_err();
    assert!(error.contains("only: linux/vax"), "{error}");
}

#[test]
fn more_than_one_image_is_refused() {
    let scene = Scene::new();
    scene.index(&[scene.manifest(), scene.blob("manifest.v1+json", b"{}")]);
    scene.check_refused(&scene.path("image"), "it holds 2 images");
}

#[test]
fn a_layer_that_is_not_what_its_digest_says_is_refused() {
    let scene = Scene::new();
    scene.index(&[scene.manifest()]);
    let sum = sum_of_text(&compressed(&layers()[1]));
    scene.write(&format!("blobs/sha256/{sum}"), compressed(&layers()[0]));
    scene.check_refused(&scene.path("image"), "has another digest");
    scene.check_nothing_left();
}

#[test]
fn a_manifest_that_is_not_what_its_digest_says_is_refused() {
    let scene = Scene::new();
    let manifest = scene.manifest();
    let digest = manifest["digest"].as_str().unwrap().replace("sha256:", "");
    scene.write(&format!("blobs/sha256/{digest}"), "{ \"layers\": [] }");
    scene.index(&[manifest]);
    scene.check_refused(&scene.path("image"), "has another digest");
}

#[test]
fn a_digest_is_no_path() {
    let scene = Scene::new();
    for digest in ["sha256:../../../secret", "sha512:00", "sha256:ABC", ""] {
        scene.index(&[json!({ "mediaType": "manifest", "digest": digest })]);
        scene.check_refused(&scene.path("image"), "is not a SHA-256 digest");
    }
}

/// A line of their own would be a command to a workflow of GitHub.
#[test]
fn what_an_image_has_chosen_is_printed_on_one_line() {
    const COMMAND: &str = "a\n::error::\u{1b}[31m";
    const ESCAPED: &str = r"a\n::error::\u{1b}[31m";
    let scene = Scene::new();
    let check = |words: &str| {
        let error = scene.find(&scene.path("image")).expect_err("it is refused");
        assert!(error.contains(ESCAPED) && error.contains(words), "{error}");
        assert!(!error.contains("\n::"), "{error}");
    };
    scene.index(&[json!({ "digest": COMMAND })]);
    check("is not a SHA-256 digest");
    let platform = json!({ "os": COMMAND, "architecture": "none" });
    scene.index(&[json!({ "digest": "", "platform": platform })]);
    check("it has nothing for");
    fs::remove_file(scene.path("image/oci-layout")).unwrap();
    for (path, words) in [(COMMAND.to_owned(), "not found"), (format!("/{COMMAND}"), "leads out")] {
        scene.write("config.json", r#"{"rootfs":{"diff_ids":["sha256:"]}}"#);
        scene.write("manifest.json", json!([{ "Config": path, "Layers": [] }]).to_string());
        check(words);
    }
}

#[test]
fn a_saved_image_is_unpacked_once() {
    let scene = Scene::new();
    for (layer, data) in layers().iter().enumerate() {
        fs::create_dir(scene.path(&format!("image/{layer}"))).unwrap();
        scene.write(&format!("{layer}/layer.tar"), data);
    }
    // Docker links layers that are the same.
    symlink("../1/layer.tar", scene.path("image/blobs/layer.tar")).unwrap();
    let sums = layers().map(|layer| format!("sha256:{}", sum_of_text(&layer)));
    scene.saved(&["0/layer.tar", "blobs/layer.tar"], &sums);
    scene.check(&scene.packed());
}

#[test]
fn a_saved_layer_that_is_not_what_its_digest_says_is_refused() {
    let scene = Scene::new();
    scene.write("layer.tar", &layers()[0]);
    scene.saved(&["layer.tar"], &[format!("sha256:{}", sum_of_text(b"other"))]);
    scene.check_refused(&scene.packed(), "has another digest");
    scene.saved(&["layer.tar"], &[]);
    scene.check_refused(&scene.packed(), "differ in layers");
}

#[test]
fn a_saved_image_stays_in_its_directory() {
    let scene = Scene::new();
    let sums = [format!("sha256:{}", sum_of_text(b"secret"))];
    fs::write(scene.path("secret"), "secret").unwrap();
    symlink("../secret", scene.path("image/link")).unwrap();
    symlink(scene.path("secret"), scene.path("image/absolute")).unwrap();
    for layer in ["../secret", "link", "absolute", "/etc/passwd"] {
        scene.saved(&[layer], &sums);
        scene.check_refused(&scene.packed(), "leads out of it");
    }
}

/// Whatever they lead to, within the image too.
#[test]
fn links_in_a_layout_are_refused() {
    let scene = Scene::new();
    let manifest = scene.manifest();
    let manifest_path = manifest["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
    scene.index(&[manifest]);
    let layer = format!("blobs/sha256/{}", sum_of_text(&compressed(&layers()[1])));
    for name in ["oci-layout", "index.json", &manifest_path, &layer, "blobs"] {
        let (path, moved) = (scene.path("image").join(name), scene.path("moved"));
        fs::rename(&path, &moved).unwrap();
        symlink(&moved, &path).unwrap();
        let error = scene.find(&scene.path("image")).expect_err("it is refused");
        assert!(error.contains(name) && error.contains("not followed"), "{error}");
        fs::remove_file(&path).unwrap();
        fs::rename(&moved, &path).unwrap();
    }
    scene.check(&scene.path("image"));
}

#[test]
fn a_list_of_layers_that_is_too_long_is_refused() {
    let scene = Scene::new();
    scene.index(&[]);
    scene.write("index.json", vec![b' '; (4 << 20) + 1]);
    scene.check_refused(&scene.path("image"), "`index.json`: it has more than 4194304 bytes");
}

#[test]
fn what_is_no_image_is_refused() {
    let scene = Scene::new();
    scene.write("manifest.json", "{}");
    scene.check_refused(&scene.path("image"), "cannot use the image");
    scene.check_refused(&scene.path("none"), "No such file");
    scene.check_refused(Path::new("/dev/null"), "neither a directory nor an archive");
}

/// This process holds what it has found itself: nobody else's is removed by one that does not.
#[test]
fn what_is_in_use_is_not_pruned() {
    let scene = Scene::new();
    fs::write(scene.path("root.tar"), archive(&[("etc/release", b"1")])).unwrap();
    let root = scene.find(&scene.path("root.tar")).unwrap();
    let cache = Cache::below(&scene.path("cache"));
    let other = cache.directory().join("0".repeat(64));
    fs::create_dir_all(other.join("etc")).unwrap();
    fs::write(other.join("etc/release"), "12345").unwrap();
    fs::create_dir(cache.directory().join("else")).unwrap();
    let pruned = cache.prune().unwrap();
    assert_eq!((pruned.removed, pruned.in_use), (1, 1));
    assert!(pruned.bytes >= 5, "{pruned:?}");
    assert!(root.join("etc/release").exists() && !other.exists());
    assert!(cache.directory().join("else").exists(), "it is none of the cache's");
    assert_eq!(fs::read_dir(cache.directory().join("sums")).unwrap().count(), 0);
    scene.check_nothing_left();
    assert_eq!(scene.find(&scene.path("root.tar")).unwrap(), root);
}

#[test]
fn without_a_cache_directory_nothing_is_unpacked() {
    let scene = Scene::new();
    fs::write(scene.path("root.tar"), archive(&[("a", b"1")])).unwrap();
    let error = find(&scene.path("root.tar"), None, &|| ()).unwrap_err().to_string();
    assert!(error.contains("XDG_CACHE_HOME"), "{error}");
}
