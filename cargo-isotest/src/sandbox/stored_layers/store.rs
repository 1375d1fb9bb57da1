//! The layers that are kept: `isotest/layers/KEY/made/layer` in the target directory.
//!
//! A layer is made elsewhere and renamed, so that one that is there is whole. `KEY/lock` is locked
//! (flock(2)): by the one run that makes the layer or removes it, or by all that use it. The time
//! of its last change is that of the last use. A command may have put anything into a layer: it is
//! reached by descriptors alone, and nothing of it is read.

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use isotest_core::untrusted::{Dir, FileType};

use crate::sandbox::run_directory::RunDirectory;

/// The directory, in the target directory.
const LAYERS: &str = "isotest/layers";
/// The directory in it for what is made or removed.
const ASIDE: &str = "isotest/layers/aside";
/// The lock of a layer.
const LOCK: &str = "lock";
/// The directory that is renamed when a layer is whole. The layer itself may be without permission to
/// write, which rename(2) needs of a directory that gets another parent.
const MADE: &str = "made";
/// The layer itself, in it.
const LAYER: &str = "layer";

/// Maximum number of layers that are looked at.
const ENTRIES: usize = 1 << 16;

/// Number of layers that stay when another one is made: those that were used last.
const KEPT: usize = 10;
/// Time after which a layer that was not used goes.
const AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The layers of a target directory.
#[derive(Debug)]
pub struct LayerStore {
    /// The target directory, without symbolic links in its path.
    target: PathBuf,
    directory: Dir,
}

/// A layer that is there, and stays until this process ends.
#[derive(Debug)]
pub struct Kept {
    /// Its path.
    pub path: PathBuf,
    /// The permissions of the directory.
    pub mode: u32,
}

/// A layer that is being made.
#[derive(Debug)]
pub struct Unfinished {
    own: RunDirectory,
}

impl Unfinished {
    /// Path of the directory that is to be filled.
    pub fn path(&self) -> PathBuf {
        self.own.path().join(MADE).join(LAYER)
    }
}

impl LayerStore {
    /// That of a target directory, which is made where it is missing.
    pub fn of(target: &Path) -> io::Result<LayerStore> {
        let target = target.canonicalize()?;
        let own = Dir::open(&target)?.make(Path::new("isotest"), 0o755)?;
        // For its owner alone: a command may leave set-user-ID programs.
        let directory = own.make(Path::new("layers"), 0o700)?;
        Ok(LayerStore { target, directory })
    }

    /// The layer of this key, if it is there. Its lock is held, by this run or with others.
    pub fn get(&self, key: &str, lock: File) -> io::Result<Option<Kept>> {
        let own = match self.directory.directory(key) {
            Ok(own) if is_at(&lock, &own) => own,
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let made = match own.directory(MADE) {
            Ok(made) => made,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let stat = made.stat(OsStr::new(LAYER))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(io::Error::other(format!("`{LAYER}` is no directory")));
        }
        lock.set_modified(SystemTime::now())?;
        std::mem::forget(lock);
        let path = self.target.join(LAYERS).join(key).join(MADE).join(LAYER);
        // mkdir(2) takes no other bits.
        Ok(Some(Kept { path, mode: stat.st_mode & 0o1777 }))
    }

    /// The lock of a layer, which is made where it is missing. It is not taken.
    pub fn lock(&self, key: &str) -> io::Result<File> {
        let own = self.directory.make(Path::new(key), 0o700)?;
        match own.create_new(OsStr::new(LOCK)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        own.file(LOCK)
    }

    /// True if a layer is not there, and the lock is still that of its directory: nobody has removed
    /// that meanwhile.
    pub fn is_missing(&self, key: &str, lock: &File) -> bool {
        let own = self.directory.directory(key);
        own.is_ok_and(|own| is_at(lock, &own) && own.stat(OsStr::new(MADE)).is_err())
    }

    /// An empty directory to be filled.
    pub fn begin(&self) -> io::Result<Unfinished> {
        let own = RunDirectory::make(&self.target, Path::new(ASIDE))?;
        own.directory().make(Path::new(MADE), 0o700)?.make(Path::new(LAYER), 0o755)?;
        Ok(Unfinished { own })
    }

    /// Takes in a layer that is whole. Its lock is held meanwhile.
    pub fn put(&self, key: &str, lock: &File, made: Unfinished) -> io::Result<()> {
        let directory = made.own.directory();
        // It must not be found half empty when the machine has lost power.
        directory.sync_filesystem()?;
        directory.move_directory(OsStr::new(MADE), &self.directory.directory(key)?)?;
        // A lock may be left of a run that was killed long ago.
        lock.set_modified(SystemTime::now())
    }

    /// Removes the layers that no run uses, except those that `stays` names by the place among the
    /// last used and the time since. Returns their number.
    fn remove(&self, stays: impl Fn(usize, Duration) -> bool) -> io::Result<usize> {
        let keys = self.directory.entries(ENTRIES)?.into_iter().map(|(name, _)| name);
        let used = |key: OsString| {
            let stat = self.directory.directory(&key).ok()?.stat(OsStr::new(LOCK)).ok()?;
            let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
            Some((Duration::from_secs(seconds), key))
        };
        let mut layers: Vec<(Duration, OsString)> =
            keys.filter(|key| is_key(key)).filter_map(used).collect();
        layers.sort_by(|one, other| other.cmp(one));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut removed = 0;
        let mut failed = Ok(());
        for (place, (used, key)) in layers.iter().enumerate() {
            if stays(place, now.saturating_sub(*used)) {
                continue;
            }
            match self.remove_one(key) {
                Ok(is_removed) => removed += usize::from(is_removed),
                // Another run has removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed.map(|()| removed)
    }

    /// Removes a layer that no run uses; `false` where one does.
    fn remove_one(&self, key: &OsStr) -> io::Result<bool> {
        let lock = self.directory.directory(key)?.file(LOCK)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Another run may have removed it meanwhile, and a third made it anew, whose lock is another.
        if !self.directory.directory(key).is_ok_and(|own| is_at(&lock, &own)) {
            return Ok(false);
        }
        // Elsewhere first: what is there under its name is whole.
        let aside = RunDirectory::make(&self.target, Path::new(ASIDE))?;
        self.directory.move_directory(key, aside.directory())?;
        drop(lock);
        aside.close().map(|()| true)
    }

    /// Removes layers that were not used for long, and all but those that were used last.
    pub fn remove_old(&self) -> io::Result<usize> {
        self.remove(|place, unused| place < KEPT && unused < AGE)
    }
}

/// Removes the layers of a target directory that no run uses. Returns their number.
pub fn prune(target: &Path) -> io::Result<usize> {
    match Dir::open(target).and_then(|target| target.directory(LAYERS)) {
        Ok(_) => LayerStore::of(target)?.remove(|_, _| false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// True if this is the file of the lock in the directory of a layer.
fn is_at(lock: &File, own: &Dir) -> bool {
    let there = own.stat(OsStr::new(LOCK));
    matches!((there, lock.metadata()), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.dev(), b.ino()))
}

fn is_key(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.len() == 64 && name.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn key(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    fn put(store: &LayerStore, key: &str) {
        let made = store.begin().expect("it is writable");
        fs::write(made.path().join("file"), key).expect("it is writable");
        fs::set_permissions(made.path(), fs::Permissions::from_mode(0o500)).expect("it is ours");
        let lock = store.lock(key).expect("it is writable");
        store.put(key, &lock, made).expect("nothing stands there");
    }

    #[test]
    fn a_layer_is_there_when_it_was_put_and_keeps_its_mode() {
        let place = tempfile::tempdir().expect("a directory");
        let store = LayerStore::of(place.path()).expect("it is writable");
        let get = |digit| {
            let lock = store.lock(&key(digit)).expect("it is writable");
            lock.lock_shared().expect("it is free");
            store.get(&key(digit), lock)
        };
        assert!(get('a').expect("it can be asked").is_none());
        drop(store.begin().expect("it is writable"));
        put(&store, &key('a'));
        let kept = get('a').expect("it can be asked").expect("it is there");
        let file = fs::read_to_string(kept.path.join("file")).expect("it is there");
        assert_eq!((kept.mode, file), (0o500, key('a')));
        // What was made and given up is gone.
        let aside = fs::read_dir(place.path().join(ASIDE)).expect("it is there");
        assert_eq!(aside.count(), 0);
        // What this process uses stays.
        assert_eq!(prune(place.path()).expect("it can be read"), 0);
        assert!(kept.path.join("file").exists());
    }

    #[test]
    fn what_is_used_least_goes_first_and_a_lock_of_what_is_gone_is_no_lock() {
        let place = tempfile::tempdir().expect("a directory");
        let store = LayerStore::of(place.path()).expect("it is writable");
        assert_eq!(prune(place.path()).expect("there is none"), 0);
        for (digit, age) in [('a', 3), ('b', 1), ('c', 2)] {
            put(&store, &key(digit));
            let lock = store.lock(&key(digit)).expect("it is there");
            lock.set_modified(SystemTime::now() - Duration::from_secs(age * 100)).expect("ours");
        }
        let lock = store.lock(&key('a')).expect("it is there");
        assert!(!store.is_missing(&key('a'), &lock));
        assert_eq!(store.remove(|place, _| place < 2).expect("it is ours"), 1);
        assert!(!store.is_missing(&key('a'), &lock), "it is another run's to make it");
        let lock = store.lock(&key('d')).expect("it is writable");
        assert!(store.is_missing(&key('d'), &lock));
        assert!(!place.path().join(LAYERS).join(key('a')).exists());
        let is_young = |_, unused| unused < Duration::from_secs(150);
        assert_eq!(store.remove(is_young).expect("it is ours"), 1);
        drop(lock);
        assert_eq!(prune(place.path()).expect("it is ours"), 2);
    }

    #[test]
    fn a_layer_that_was_made_anew_is_not_removed_by_the_lock_of_the_old_one() {
        let place = tempfile::tempdir().expect("a directory");
        let store = LayerStore::of(place.path()).expect("it is writable");
        put(&store, &key('a'));
        let own = place.path().join(LAYERS).join(key('a'));
        let waits = File::open(own.join(LOCK)).expect("it is there");
        assert_eq!(prune(place.path()).expect("it is ours"), 1);
        put(&store, &key('a'));
        let there = store.directory.directory(key('a')).expect("it is there");
        assert!(!is_at(&waits, &there));
        assert!(is_at(&store.lock(&key('a')).expect("it is there"), &there));
        assert!(own.join(MADE).exists());
    }

    #[test]
    fn hostile_content_is_removed_and_no_link_is_followed() {
        let place = tempfile::tempdir().expect("a directory");
        let outside = tempfile::tempdir().expect("a directory");
        fs::write(outside.path().join("kept"), "kept").expect("it is writable");
        let store = LayerStore::of(place.path()).expect("it is writable");
        put(&store, &key('a'));
        let layer = place.path().join(LAYERS).join(key('a')).join(MADE).join(LAYER);
        fs::set_permissions(&layer, fs::Permissions::from_mode(0o700)).expect("it is ours");
        symlink(outside.path(), layer.join("link")).expect("a link");
        fs::create_dir_all(layer.join("closed/in")).expect("it is writable");
        for path in [layer.join("closed"), layer.clone()] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).expect("it is ours");
        }
        assert_eq!(prune(place.path()).expect("it is ours"), 1);
        assert!(outside.path().join("kept").exists());
        // A link in the place of a layer is none.
        let lock = store.lock(&key('b')).expect("it is writable");
        let own = place.path().join(LAYERS).join(key('b'));
        symlink(outside.path(), own.join(MADE)).expect("a link");
        assert!(store.get(&key('b'), lock).is_err());
        fs::remove_file(own.join(MADE))
            .and_then(|()| fs::create_dir(own.join(MADE)))
            .expect("ours");
        symlink(outside.path(), own.join(MADE).join(LAYER)).expect("a link");
        let lock = store.lock(&key('b')).expect("it is writable");
        assert!(store.get(&key('b'), lock).is_err());
    }
}
