//! Limits of the overlay over the project, as the book states them, and its abilities.

use std::fs;

use isotest_tests::{Project, refused};

const TESTS: (&str, &str) = (
    "src/lib.rs",
    r#"
#![cfg(test)]
use std::ffi::{CString, c_char, c_int, c_void};
use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
unsafe extern "C" {
    fn mmap(at: *mut c_void, size: usize, access: c_int, kind: c_int, file: c_int, from: i64) -> *mut c_void;
    fn name_to_handle_at(at: c_int, path: *const c_char, handle: *mut u32, mount: *mut c_int, flags: c_int) -> c_int;
}
fn errno_of_handle(path: &str) -> Option<i32> {
    let path = CString::new(path).unwrap();
    let (mut handle, mut mount) = ([128_u32, 0].into_iter().chain([0; 32]).collect::<Vec<_>>(), 0);
    let result = unsafe { name_to_handle_at(-100, path.as_ptr(), handle.as_mut_ptr(), &mut mount, 0) };
    (result != 0).then(|| std::io::Error::last_os_error().raw_os_error().unwrap())
}
#[test]
fn a_directory_of_the_sources_cannot_be_renamed() {
    let error = fs::rename("data", "renamed").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::CrossesDevices);
    fs::rename("data/file", "data/renamed").unwrap();
    fs::create_dir("own").unwrap();
    fs::rename("own", "renamed").unwrap();
}
#[test]
fn what_was_mapped_before_the_first_write_is_old() {
    let file = fs::File::open("data/file").unwrap();
    let mapped = unsafe { mmap(std::ptr::null_mut(), 4096, 1, 1, file.as_raw_fd(), 0) };
    assert_ne!(mapped as isize, -1);
    let mapped = mapped.cast::<[u8; 3]>();
    assert_eq!(unsafe { mapped.read_volatile() }, *b"old");
    fs::OpenOptions::new().write(true).open("data/file").unwrap().write_all(b"new").unwrap();
    assert_eq!(unsafe { mapped.read_volatile() }, *b"old");
    let mut read = [0; 3];
    file.read_exact_at(&mut read, 0).unwrap();
    assert_eq!(read, *b"new");
}
#[test]
fn hard_links_of_the_sources_break() {
    assert_eq!(fs::metadata("data/one").unwrap().nlink(), 2);
    fs::OpenOptions::new().write(true).open("data/one").unwrap().write_all(b"new").unwrap();
    assert_eq!(fs::read_to_string("data/one").unwrap(), "new");
    assert_eq!(fs::read_to_string("data/two").unwrap(), "old");
    fs::hard_link("data/one", "data/own").unwrap();
    fs::write("data/own", "both").unwrap();
    assert_eq!(fs::read_to_string("data/one").unwrap(), "both");
}
#[test]
fn files_have_no_handle() {
    const EOPNOTSUPP: i32 = 95;
    fs::write("own", "").unwrap();
    for path in ["data", "data/file", "own"] {
        assert_eq!(errno_of_handle(path), Some(EOPNOTSUPP), "{path}");
    }
    fs::write("/tmp/own", "").unwrap();
    assert_eq!(errno_of_handle("/tmp/own"), None);
}
"#,
);

const MANIFEST: (&str, &str) = (
    "Cargo.toml",
    "[package]\nname = 'overlay'\nversion = '0.0.0'\nedition = '2024'\n[workspace]\n",
);

#[test]
fn the_overlay_differs_from_a_directory_in_what_the_book_names() {
    if refused() {
        return;
    }
    let data = [("data/file", "old"), ("data/one", "old")];
    let project = Project::new(&[&[MANIFEST, TESTS], &data[..]].concat());
    let [one, two] = ["data/one", "data/two"].map(|path| project.directory().join(path));
    fs::hard_link(one, two).expect("both are on one filesystem");
    for scratch in ["memory", "disk"] {
        project.isotest(&format!("--lib --scratch {scratch}")).run().check(0, &["4 passed"]);
    }
    assert_eq!(fs::read_to_string(project.directory().join("data/two")).unwrap(), "old");
}
