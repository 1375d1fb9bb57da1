//! Archives, good and hostile: each is unpacked into a directory with a neighbour, who must not
//! notice.

use std::os::unix::fs::MetadataExt;

use tar::{Builder, Header};
use tempfile::TempDir;

use super::*;

/// An entry: what it is, its path, its content or target.
type Item<'a> = (EntryType, &'a str, &'a str);

const FILE: EntryType = EntryType::Regular;
const DIRECTORY: EntryType = EntryType::Directory;
const LINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;

/// An archive with paths as they are given; the builder's own functions would refuse some.
fn archive(items: &[Item<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, content) in items {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(if *kind == DIRECTORY { 0o555 } else { 0o4750 });
        let data = if *kind == FILE { content.as_bytes() } else { &[] };
        header.set_size(data.len() as u64);
        let fields = header.as_old_mut();
        fields.name[..path.len()].copy_from_slice(path.as_bytes());
        if *kind != FILE {
            fields.linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A directory `root` beside a file `neighbour`.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(TempDir::new().unwrap());
        fs::create_dir(place.root()).unwrap();
        fs::write(place.0.path().join("neighbour"), "untouched").unwrap();
        place
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    /// Every path in the root, sorted, with the content of files and the targets of links.
    fn listing(&self) -> Vec<String> {
        let (mut found, mut directories) = (Vec::new(), vec![self.root()]);
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.root()).unwrap().display().to_string();
                found.push(match fs::symlink_metadata(&path).unwrap().file_type() {
                    kind if kind.is_symlink() => {
                        format!("{name} -> {}", fs::read_link(&path).unwrap().display())
                    }
                    kind if kind.is_dir() => {
                        directories.push(path);
                        format!("{name}/")
                    }
                    _ => format!("{name}={}", fs::read_to_string(&path).unwrap()),
                });
            }
        }
        found.sort();
        found
    }
}

/// Unpacks layers and compares what is there then.
#[track_caller]
fn check(layers: &[&[Item<'_>]], expected: &[&str]) {
    let place = Place::new();
    let root = place.root();
    let mut unpacker = Unpacker::new(&root, LIMITS);
    for layer in layers {
        unpacker.unpack(archive(layer).as_slice(), Whiteouts::Applied).unwrap();
    }
    assert_eq!(place.listing(), expected);
}

/// Unpacking fails with these words, and the neighbour has not changed.
#[track_caller]
fn check_refused(limits: Limits, items: &[Item<'_>], words: &str) {
    let place = Place::new();
    let root = place.root();
    let unpacked =
        Unpacker::new(&root, limits).unpack(archive(items).as_slice(), Whiteouts::Applied);
    let error = unpacked.expect_err("it is hostile").to_string();
    assert!(error.contains(words), "{error}");
    let outside: Vec<_> = fs::read_dir(place.0.path()).unwrap().collect();
    assert_eq!(outside.len(), 2, "something was made outside");
    assert_eq!(fs::read_to_string(place.0.path().join("neighbour")).unwrap(), "untouched");
    assert_eq!(fs::metadata(place.0.path().join("neighbour")).unwrap().nlink(), 1);
}

#[test]
fn files_directories_and_links_are_made() {
    check(
        &[&[
            (DIRECTORY, "./", ""),
            (DIRECTORY, "./usr", ""),
            (FILE, "./usr/bin/sh", "shell"),
            (LINK, "bin", "usr/bin"),
            (LINK, "etc", "/outside"),
            (HARD, "dash", "./usr/bin/sh"),
        ]],
        &[
            "bin -> usr/bin",
            "dash=shell",
            "etc -> /outside",
            "usr/",
            "usr/bin/",
            "usr/bin/sh=shell",
        ],
    );
}

#[test]
fn a_link_that_stays_inside_may_lead_to_a_file() {
    let items = [(DIRECTORY, "usr", ""), (LINK, "lib", "usr"), (FILE, "lib/a", "1")];
    check(&[&items], &["lib -> usr", "usr/", "usr/a=1"]);
}

#[test]
fn modes_are_kept_less_what_gives_privileges() {
    let place = Place::new();
    let items = [(DIRECTORY, "d", ""), (FILE, "d/f", "")];
    let root = place.root();
    Unpacker::new(&root, LIMITS).unpack(archive(&items).as_slice(), Whiteouts::Kept).unwrap();
    let mode = |path: &str| fs::metadata(root.join(path)).unwrap().mode() & 0o7777;
    // What it was unpacked by must be able to remove it.
    assert_eq!((mode("d"), mode("d/f")), (0o755, 0o750));
}

#[test]
fn devices_and_pipes_are_left_out() {
    let items = [
        (EntryType::Char, "dev/mem", ""),
        (EntryType::Block, "dev/sda", ""),
        (EntryType::Fifo, "run/pipe", ""),
        (FILE, "a", "1"),
    ];
    check(&[&items], &["a=1", "dev/", "run/"]);
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    check(
        &[
            &[(FILE, "file", "1"), (DIRECTORY, "directory", ""), (FILE, "directory/a", "1")],
            &[(DIRECTORY, "file", ""), (LINK, "directory", "file")],
        ],
        &["directory -> file", "file/"],
    );
}

/// The link must be replaced and not written through.
#[test]
fn a_file_replaces_a_link_of_its_name() {
    let items = [(LINK, "a", "../neighbour"), (FILE, "a", "2")];
    check(&[&items], &["a=2"]);
}

#[test]
fn a_whiteout_removes_what_lower_layers_have() {
    check(
        &[
            &[(FILE, "etc/a", "1"), (FILE, "etc/b", "1"), (FILE, "var/c/d", "1")],
            &[(FILE, "etc/.wh.a", ""), (FILE, ".wh.var", ""), (FILE, "none/.wh.x", "")],
        ],
        &["etc/", "etc/b=1"],
    );
}

#[test]
fn an_opaque_directory_has_only_what_its_own_layer_has() {
    check(
        &[
            &[(FILE, "etc/a", "1"), (FILE, "etc/b/c", "1")],
            &[(FILE, "etc/new", "2"), (FILE, "etc/b/d", "2"), (FILE, "etc/.wh..wh..opq", "")],
        ],
        &["etc/", "etc/b/", "etc/b/d=2", "etc/new=2"],
    );
}

#[test]
fn a_whiteout_of_its_own_layers_directory_empties_it_of_lower_ones() {
    check(
        &[&[(FILE, "etc/a", "1")], &[(FILE, "etc/b", "2"), (FILE, ".wh.etc", "")]],
        &["etc/", "etc/b=2"],
    );
}

#[test]
fn where_there_are_no_layers_a_whiteout_is_a_file() {
    let place = Place::new();
    let root = place.root();
    let items = archive(&[(FILE, ".wh.a", "1")]);
    Unpacker::new(&root, LIMITS).unpack(items.as_slice(), Whiteouts::Kept).unwrap();
    assert_eq!(place.listing(), [".wh.a=1"]);
}

#[test]
fn a_path_with_dots_is_refused() {
    check_refused(LIMITS, &[(FILE, "../neighbour", "x")], "has `..` in its path");
    check_refused(LIMITS, &[(FILE, "a/../../neighbour", "x")], "has `..` in its path");
    check_refused(LIMITS, &[(DIRECTORY, "..", "")], "has `..` in its path");
    check_refused(LIMITS, &[(LINK, "../link", "root")], "has `..` in its path");
}

#[test]
fn an_absolute_path_is_refused() {
    check_refused(LIMITS, &[(FILE, "/etc/passwd", "x")], "has an absolute path");
}

#[test]
fn a_file_behind_a_link_that_leads_out_is_refused() {
    let escapes = "is behind the link `out`, which leads out of the archive";
    let above = "leads out of the archive";
    check_refused(LIMITS, &[(LINK, "out", ".."), (FILE, "out/neighbour", "x")], above);
    check_refused(LIMITS, &[(LINK, "out", "/tmp"), (FILE, "out/x", "x")], escapes);
    check_refused(
        LIMITS,
        &[(LINK, "d/a", ".."), (LINK, "out", "d/a/.."), (DIRECTORY, "out/new", "")],
        above,
    );
}

/// As an archive of tests is unpacked, into a directory of a project.
#[test]
fn what_stands_beside_the_one_directory_is_outside() {
    let unpack = |items: &[Item<'_>]| {
        let place = Place::new();
        let root = place.root();
        let mut unpacker = Unpacker::new(&root, LIMITS).only("target");
        let unpacked = unpacker.unpack(archive(items).as_slice(), Whiteouts::Kept);
        let neighbour = fs::metadata(place.0.path().join("neighbour")).unwrap();
        assert_eq!(neighbour.nlink(), 1);
        assert_eq!(fs::read_dir(place.0.path()).unwrap().count(), 2, "something was made outside");
        unpacked.map(|()| place.listing()).map_err(|error| error.to_string())
    };
    let link = unpack(&[(LINK, "target/a", ".."), (FILE, "target/a/neighbour", "x")]);
    let error = link.expect_err("it leads out");
    assert!(error.contains("leads out of the archive"), "{error}");
    let hard = unpack(&[(HARD, "target/a", "neighbour")]).expect_err("it is outside");
    assert!(hard.contains("is a hard link to `neighbour`, outside of the archive"), "{hard}");
    let beside = unpack(&[(FILE, "neighbour", "x")]).expect_err("it is outside");
    assert_eq!(beside, "its entry `neighbour` is not in `target`");
    let itself = unpack(&[(LINK, "target", "."), (FILE, "target/a", "x"), (LINK, "target/b", "a")]);
    assert_eq!(itself.unwrap(), ["a=x", "b -> a"]);
    let inside = unpack(&[(FILE, "target/d/a", "x"), (HARD, "target/b", "./target/d/a")]);
    assert_eq!(inside.unwrap(), ["b=x", "d/", "d/a=x"]);
}

#[test]
fn a_hard_link_to_what_is_outside_is_refused() {
    let outside = "outside of the archive";
    check_refused(LIMITS, &[(HARD, "a", "../neighbour")], outside);
    check_refused(LIMITS, &[(HARD, "a", "/etc/passwd")], outside);
    check_refused(LIMITS, &[(LINK, "out", ".."), (HARD, "a", "out/neighbour")], outside);
}

/// Writing to a hard link of a link would write through it.
#[test]
fn a_hard_link_to_a_link_leads_nowhere() {
    let items = [(LINK, "l", "../neighbour"), (HARD, "a", "l"), (FILE, "a", "x")];
    check(&[&items], &["a=x", "l -> ../neighbour"]);
}

#[test]
fn a_hard_link_to_nothing_is_refused() {
    check_refused(LIMITS, &[(HARD, "a", "none")], "which is no file before it");
    check_refused(LIMITS, &[(DIRECTORY, "d", ""), (HARD, "a", "d")], "which is no file before it");
}

#[test]
fn a_whiteout_of_no_file_is_refused() {
    check_refused(LIMITS, &[(FILE, ".wh...", "")], "is a whiteout of no file");
    check_refused(LIMITS, &[(FILE, "a/.wh..", "")], "is a whiteout of no file");
    check_refused(LIMITS, &[(FILE, ".wh.", "")], "is a whiteout of no file");
}

#[test]
fn a_whiteout_behind_a_link_that_leads_out_is_refused() {
    let items = [(LINK, "out", ".."), (FILE, "out/.wh.neighbour", "")];
    check_refused(LIMITS, &items, "leads out of the archive");
}

/// A line of their own would be a command to a workflow of GitHub.
#[test]
fn what_an_archive_has_chosen_is_printed_on_one_line() {
    let (name, escaped) = ("a\n::error::b", r"`a\n::error::b`");
    let outside = format!("is a hard link to {}", r"`../a\n::error::b`");
    check_refused(LIMITS, &[(HARD, "x", "../a\n::error::b")], &outside);
    check_refused(LIMITS, &[(HARD, "x", name)], &format!("is a hard link to {escaped}, which"));
    let behind = format!("its entry `a\\n::error::b/x` is behind the link {escaped}");
    check_refused(LIMITS, &[(LINK, name, "/"), (FILE, "a\n::error::b/x", "")], &behind);
    let mut broken = archive(&[(FILE, name, "")]);
    broken[124..135].fill(b'x');
    let place = Place::new();
    let root = place.root();
    let error = Unpacker::new(&root, LIMITS).unpack(broken.as_slice(), Whiteouts::Kept);
    let error = error.unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn too_many_bytes_are_refused() {
    let limits = Limits { bytes: 3, ..LIMITS };
    check_refused(limits, &[(FILE, "a", "12"), (FILE, "b", "34")], "larger than the limit");
}

#[test]
fn too_many_entries_are_refused() {
    let limits = Limits { entries: 1, ..LIMITS };
    check_refused(limits, &[(FILE, "a", ""), (FILE, "b", "")], "one more than the limit");
}

/// An archive of one file that is a hole, with as many bytes and one behind it.
fn holes(size: u64) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_path("holes").unwrap();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_mode(0o644);
    let fields = header.as_gnu_mut().unwrap();
    fields.set_real_size(size + 1);
    // The map: data at the end alone.
    fields.sparse[0].set_offset(size);
    fields.sparse[0].set_length(1);
    header.set_size(1);
    header.set_cksum();
    let mut builder = Builder::new(Vec::new());
    builder.append(&header, &b"x"[..]).unwrap();
    builder.into_inner().unwrap()
}

/// Whoever reads it reads that much.
#[test]
fn a_file_of_holes_counts_by_its_size() {
    let place = Place::new();
    let root = place.root();
    let limits = Limits { bytes: 1 << 20, ..LIMITS };
    let error = Unpacker::new(&root, limits).unpack(holes(1 << 40).as_slice(), Whiteouts::Kept);
    assert!(error.unwrap_err().to_string().contains("larger than the limit"));
}

#[test]
fn holes_take_no_place_on_the_disk() {
    let place = Place::new();
    let root = place.root();
    let size = (64 << 20) + 1;
    Unpacker::new(&root, LIMITS).unpack(holes(size).as_slice(), Whiteouts::Kept).unwrap();
    let content = fs::read(root.join("holes")).unwrap();
    assert_eq!(content.len() as u64, size + 1);
    assert!(
        content.ends_with(&[0, b'x']) && content.iter().filter(|byte| **byte != 0).count() == 1
    );
    let blocks = fs::metadata(root.join("holes")).unwrap().blocks();
    assert!(blocks * 512 < 1 << 20, "{blocks} blocks");
    let zeros = archive(&[(FILE, "zeros", "\0\0\0")]);
    Unpacker::new(&root, LIMITS).unpack(zeros.as_slice(), Whiteouts::Kept).unwrap();
    assert_eq!(fs::read(root.join("zeros")).unwrap(), [0; 3]);
}

/// They are held in memory, one layer's at a time; where nothing is whited out none is.
#[test]
fn names_without_an_end_are_refused() {
    let deep = ["d/".repeat(40), "a".to_owned()].concat();
    let place = Place::new();
    let root = place.root();
    let once = root.as_os_str().len() as u64 * 41 + 2 * (1..=41).sum::<u64>();
    let limits = Limits { names: once, ..LIMITS };
    // What is known already counts once.
    let again = archive(&[(FILE, &deep, "1"), (FILE, &deep, "2")]);
    Unpacker::new(&root, limits).unpack(again.as_slice(), Whiteouts::Applied).unwrap();
    let limits = Limits { names: once / 2, ..LIMITS };
    Unpacker::new(&root, limits).unpack(again.as_slice(), Whiteouts::Kept).unwrap();
    check_refused(limits, &[(FILE, &deep, "1")], "makes its names longer than the limit");
}

/// It would be held in memory.
#[test]
fn an_endless_name_is_refused() {
    let mut header = Header::new_gnu();
    header.set_path("././@LongLink").unwrap();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(64 << 20);
    header.set_cksum();
    let archive = header.as_bytes().chain(io::repeat(b'a').take(64 << 20));
    let place = Place::new();
    let root = place.root();
    let error = Unpacker::new(&root, LIMITS).unpack(archive, Whiteouts::Kept).unwrap_err();
    assert!(error.to_string().contains("headers are longer than 1 MiB"), "{error}");
}

#[test]
fn what_is_no_archive_is_refused() {
    let place = Place::new();
    let root = place.root();
    let error = Unpacker::new(&root, LIMITS).unpack(&[1; 4096][..], Whiteouts::Kept);
    assert!(error.is_err());
}
