//! The disk that loses what was not synced does what it says, asked through the kernel: else the tests that stand on it would prove nothing.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that cannot go on fails; it waits as it needs")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use headcount_tests::lossy::{Loss, LossyDisk, Moment};
use rustix::fs::{CWD, FallocateFlags, FlockOperation, RenameFlags, fallocate, flock, renameat_with};
use tempfile::TempDir;

fn mount(folder: &TempDir) -> Option<(LossyDisk, PathBuf)> {
    let at = folder.path().join("disk");
    LossyDisk::mount(&at, "the disk's own behaviour").map(|disk| (disk, at))
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("hc-lossy-").tempdir().unwrap()
}

fn sync_folder(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    File::open(path).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_power_cut_takes_what_was_not_synced_and_leaves_what_was() {
    let folder = folder();
    let Some((mut disk, at)) = mount(&folder) else { return };
    fs::create_dir(at.join("sub")).unwrap();
    let mut file = File::create(at.join("sub/kept")).unwrap();
    file.write_all(b"synced").unwrap();
    file.sync_data().unwrap();
    sync_folder(&at.join("sub"));
    sync_folder(&at);
    file.write_all(b", and not").unwrap();
    fs::write(at.join("without a name on the disk"), "x").unwrap();
    fs::write(at.join("sub/a name without bytes"), "x").unwrap();
    sync_folder(&at.join("sub"));
    fs::rename(at.join("sub/kept"), at.join("renamed")).unwrap();
    assert_eq!(read(&at.join("renamed")), "synced, and not");
    drop(file);
    disk.restore(Loss::Everything);
    assert_eq!(names(&at), ["sub"]);
    assert_eq!(names(&at.join("sub")), ["a name without bytes", "kept"]);
    assert_eq!(read(&at.join("sub/kept")), "synced");
    assert_eq!(read(&at.join("sub/a name without bytes")), "");

    fs::rename(at.join("sub/kept"), at.join("renamed")).unwrap();
    sync_folder(&at.join("sub"));
    fs::remove_file(at.join("sub/a name without bytes")).unwrap();
    disk.restore(Loss::Everything);
    assert_eq!(names(&at), ["renamed", "sub"], "a rename is on the disk in both folders or in none");
    assert_eq!(names(&at.join("sub")), ["a name without bytes"], "a removal that was not synced is undone");
}

#[test]
fn it_can_do_what_the_spool_and_clickhouse_ask_of_a_file_system() {
    let folder = folder();
    let Some((_disk, at)) = mount(&folder) else { return };
    let (one, two) = (at.join("one"), at.join("two"));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&one).unwrap();
    fallocate(&file, FallocateFlags::empty(), 0, 10_000).unwrap();
    file.write_all_at(&[7; 6_000], 3_000).unwrap();
    let mut bytes = [1; 4];
    file.read_exact_at(&mut bytes, 2_998).unwrap();
    assert_eq!((bytes, file.metadata().unwrap().len()), ([0, 0, 7, 7], 10_000));
    file.set_len(3_001).unwrap();
    assert_eq!(fs::read(&one).unwrap().len(), 3_001);
    fs::write(&two, "two").unwrap();
    renameat_with(CWD, &one, CWD, &two, RenameFlags::NOREPLACE).unwrap_err();
    renameat_with(CWD, &one, CWD, &two, RenameFlags::EXCHANGE).unwrap();
    assert_eq!((read(&one).as_str(), fs::read(&two).unwrap().len()), ("two", 3_001));
    fs::hard_link(&one, at.join("three")).unwrap();
    fs::remove_file(&one).unwrap();
    std::os::unix::fs::symlink("three", at.join("four")).unwrap();
    assert_eq!(read(&at.join("four")), "two");
    let other = File::open(at.join("three")).unwrap();
    flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    flock(&other, FlockOperation::NonBlockingLockExclusive).unwrap();
    flock(File::open(&two).unwrap(), FlockOperation::NonBlockingLockExclusive).unwrap_err();
    std::os::unix::net::UnixListener::bind(at.join("socket")).unwrap();
    fs::create_dir_all(at.join("a/b")).unwrap();
    fs::remove_dir(at.join("a")).unwrap_err();
    for number in 0..300 {
        fs::write(at.join(format!("a/b/{number}")), "x").unwrap();
    }
    assert_eq!(names(&at.join("a/b")).len(), 300);
    fs::remove_dir_all(at.join("a")).unwrap();
    assert_eq!(names(&at), ["four", "socket", "three", "two"]);
    assert_eq!(fs::read(&two).unwrap()[3_000], 7, "an open file lives on");
}

#[test]
fn at_a_cut_a_sync_is_never_answered_whether_it_reached_the_disk_or_not() {
    for (moment, left) in [(Moment::Before, ""), (Moment::After, "synced")] {
        let folder = folder();
        let Some((mut disk, at)) = mount(&folder) else { return };
        let mut file = File::create(at.join("file")).unwrap();
        sync_folder(&at);
        disk.cut_after(0, moment);
        let writer = std::thread::spawn(move || {
            file.write_all(b"synced").unwrap();
            file.sync_data()
        });
        disk.wait_for_cut(Duration::from_secs(20));
        assert!(!writer.is_finished());
        disk.restore(Loss::Everything);
        assert_eq!(writer.join().unwrap().unwrap_err().raw_os_error(), Some(5), "only what was not killed in time learns of it");
        assert_eq!(read(&at.join("file")), left, "{moment:?}");
    }
}

#[test]
fn what_a_failed_sync_should_have_written_is_lost_although_the_next_one_succeeds() {
    let folder = folder();
    let Some((mut disk, at)) = mount(&folder) else { return };
    let mut file = File::create(at.join("file")).unwrap();
    sync_folder(&at);
    disk.fail_syncs(1, 1);
    file.write_all(b"one").unwrap();
    file.sync_data().unwrap();
    file.write_all(b" two").unwrap();
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
    file.sync_data().unwrap();
    assert_eq!(read(&at.join("file")), "one two");
    drop(file);
    disk.restore(Loss::Everything);
    assert_eq!(fs::read(at.join("file")).unwrap(), b"one\0\0\0\0");
}

#[test]
fn it_is_as_slow_and_as_small_as_it_is_told_to_be() {
    let folder = folder();
    let Some((disk, at)) = mount(&folder) else { return };
    let mut file = File::create(at.join("file")).unwrap();
    disk.delay_syncs(Duration::from_millis(200));
    let begun = Instant::now();
    file.sync_data().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200));
    disk.delay_syncs(Duration::ZERO);
    disk.throttle(Some(1 << 20));
    file.write_all(&vec![1; 300 << 10]).unwrap();
    let begun = Instant::now();
    file.sync_data().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(290), "300 KiB at 1 MiB a second");
    disk.throttle(None);
    disk.full_after(Some(400 << 10));
    assert_eq!(file.write_all(&vec![1; 101 << 10]).unwrap_err().raw_os_error(), Some(28));
    assert_eq!(fallocate(&file, FallocateFlags::empty(), 0, 401 << 10), Err(rustix::io::Errno::NOSPC));
    disk.full_after(None);
    file.write_all(&vec![1; 101 << 10]).unwrap();
}

#[test]
fn what_survives_by_lot_is_the_same_for_the_same_seed() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in [1, 2, 3, 4, 1, 2, 3, 4] {
        for loss in [Loss::Some { seed, tear_bytes: 512 }, Loss::Journaled { seed, tear_bytes: 512 }] {
            let folder = folder();
            let Some((mut disk, at)) = mount(&folder) else { return };
            for number in 0..20 {
                fs::write(at.join(format!("{number:02}")), [1; 2_048]).unwrap();
            }
            disk.restore(loss);
            let names = names(&at);
            let in_order = names.iter().enumerate().all(|(place, name)| *name == format!("{place:02}"));
            assert!(in_order || loss == Loss::Some { seed, tear_bytes: 512 }, "{names:?}");
            let left: Vec<_> = names.iter().map(|name| (name.clone(), fs::read(at.join(name)).unwrap())).collect();
            seen.insert((seed, in_order, left));
        }
    }
    assert_eq!(seen.len(), 8, "two kinds of loss, four seeds");
}

#[test]
fn a_process_that_dies_leaves_no_mount_behind() {
    const AT: &str = "HEADCOUNT_LOSSY_AT";
    const NAME: &str = "a_process_that_dies_leaves_no_mount_behind";
    if let Some(at) = std::env::var_os(AT) {
        let disk = LossyDisk::mount(Path::new(&at), "a process that dies").unwrap();
        assert!(is_mounted(Path::new(&at)));
        std::mem::forget(disk);
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    }
    let folder = folder();
    let Some((disk, at)) = mount(&folder) else { return };
    drop(disk);
    assert!(!is_mounted(&at));
    let this = std::process::Command::new(std::env::current_exe().unwrap()).args([NAME, "--exact"]).env(AT, &at).output().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&this.status), Some(9), "{}", String::from_utf8_lossy(&this.stdout));
    let deadline = Instant::now() + Duration::from_secs(20);
    while is_mounted(&at) {
        assert!(Instant::now() < deadline, "it is still mounted");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_mounted(at: &Path) -> bool {
    fs::read_to_string("/proc/self/mounts").unwrap().contains(&*at.to_string_lossy())
}
