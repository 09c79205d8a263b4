//! What a start makes of what it finds.

use super::*;

/// Leaves a segment as kill -9 would: acknowledged, and never sealed.
fn crashed(folder: &Folder, texts: &[&str]) -> PathBuf {
    let spool = folder.spool();
    run(async {
        let (sender, _receiver) = unbounded_channel();
        let log = Log::new(Arc::clone(&spool), clock());
        let runner = tokio::task::spawn_local(Rc::clone(&log).run(0, sender));
        for text in texts {
            write(&log, &[text]).await;
        }
        // The open file is copied away while the log lives, and put back after it: the copy is what a killed process leaves.
        let open = folder.files("open").pop().unwrap();
        let copy = fs::read(&open).unwrap();
        log.close();
        runner.await.unwrap().unwrap();
        for sealed in folder.files("sealed") {
            fs::remove_file(sealed).unwrap();
        }
        fs::write(&open, copy).unwrap();
        open
    })
}

#[test]
fn an_open_segment_is_recovered_whole() {
    let folder = Folder::new("recovered");
    crashed(&folder, &["a", "b", "c"]);
    for _ in 0..2 {
        let recovered = recover(&folder.spool()).unwrap();
        assert_eq!(recovered.sealed.iter().map(content).collect::<Vec<_>>(), ["abc"]);
        assert_eq!((recovered.quarantined, recovered.empty), (0, 0));
        assert!(folder.files("open").is_empty());
    }
}

#[test]
fn a_torn_end_is_cut_off_at_any_byte() {
    let folder = Folder::new("torn");
    let open = crashed(&folder, &["first", "second"]);
    let whole = fs::read(&open).unwrap();
    let second = whole.windows(6).position(|window| window == b"second").unwrap();
    for cut in second - 24..second + 14 {
        fs::write(&open, &whole[..cut]).unwrap();
        let recovered = recover(&folder.spool()).unwrap();
        assert_eq!(recovered.sealed.iter().map(content).collect::<Vec<_>>(), ["first"], "cut at {cut}");
        fs::remove_file(recovered.sealed[0].path()).unwrap();
    }
}

#[test]
fn a_damaged_frame_is_quarantined_and_the_good_ones_after_it_live_on() {
    let folder = Folder::new("damaged");
    let open = crashed(&folder, &["first", "second", "third"]);
    let mut bytes = fs::read(&open).unwrap();
    let second = bytes.windows(6).position(|window| window == b"second").unwrap();
    bytes[second] ^= 0x20;
    fs::write(&open, bytes).unwrap();
    let spool = folder.spool();
    let recovered = recover(&spool).unwrap();
    assert_eq!(recovered.sealed.iter().map(content).collect::<Vec<_>>(), ["firstthird"]);
    assert_eq!(recovered.quarantined, 1);
    let listed = inspect::list(&folder.0).unwrap();
    let states: Vec<_> = listed.iter().map(|one| (one.state.label(), one.rows)).collect();
    assert_eq!(states, [("sealed", 2), ("quarantined", 0)]);
    assert!(listed[0].is_sound());
    drop((recovered, spool));
    let spool = folder.spool();
    let again = recover(&spool).unwrap();
    assert_eq!((again.quarantined, spool.gauge().quarantined_pieces()), (0, 1), "a second start finds nothing new");
}

#[test]
fn a_damaged_sealed_segment_is_not_given_out_as_sound() {
    let folder = Folder::new("sealed");
    let sealed = with_log(&folder.spool(), |log| async move { write(&log, &["a single row"]).await });
    let mut bytes = fs::read(sealed[0].path()).unwrap();
    let row = bytes.windows(12).position(|window| window == b"a single row").unwrap();
    bytes[row] ^= 1;
    fs::write(sealed[0].path(), bytes).unwrap();
    assert!(sealed[0].reader().unwrap().next_rows().is_err());
    assert!(!inspect::list(&folder.0).unwrap()[0].is_sound());
}

#[test]
fn a_file_of_zeros_is_an_unfinished_beginning() {
    let folder = Folder::new("zeros");
    let spool = folder.spool();
    fs::write(folder.0.join("0000000000000001.open"), vec![0; 1 << 20]).unwrap();
    fs::write(folder.0.join("0000000000000002.open"), b"no segment at all").unwrap();
    let recovered = recover(&spool).unwrap();
    assert_eq!((recovered.empty, recovered.quarantined, recovered.sealed.len()), (1, 1, 0));
}

#[test]
fn a_parked_segment_that_is_moved_back_is_there_again_after_a_start() {
    let folder = Folder::new("parked");
    let spool = folder.spool();
    let mut sealed = with_log(&spool, |log| async move { write(&log, &["a row"]).await });
    let parked = sealed.remove(0).park().unwrap();
    drop(spool);
    let spool = folder.spool();
    let recovered = recover(&spool).unwrap();
    assert_eq!((recovered.sealed.len(), spool.gauge().parked_events()), (0, 1));
    assert_eq!(spool.gauge().bytes(), fs::metadata(&parked).unwrap().len(), "it takes disk, so it counts");
    drop((recovered, spool));
    fs::rename(&parked, folder.0.join(parked.file_name().unwrap())).unwrap();
    let spool = folder.spool();
    let recovered = recover(&spool).unwrap();
    assert_eq!(recovered.sealed.iter().map(content).collect::<Vec<_>>(), ["a row"]);
    assert_eq!(spool.gauge().parked_events(), 0);
}

#[test]
fn a_segment_of_a_newer_version_is_refused_and_nothing_is_changed() {
    let folder = Folder::new("newer");
    with_log(&folder.spool(), |log| async move { write(&log, &["a"]).await });
    // Damage besides, and what a crash leaves: neither is touched.
    let ours = folder.files("sealed").remove(0);
    let mut bytes = fs::read(&ours).unwrap();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    fs::write(&ours, &bytes).unwrap();
    for (place, found) in [("0000000000000999.sealed", '2'), ("0000000000000998.open", '3'), ("parked/0000000000000997.sealed", 'A')] {
        let theirs = folder.0.join(place);
        fs::create_dir_all(theirs.parent().unwrap()).unwrap();
        fs::write(&theirs, format!("HCSPOOL{found} and what this version cannot know")).unwrap();
        let refusal = recover(&folder.spool()).unwrap_err().to_string();
        let expected = format!(
            "{}: written by a newer Headcount, in format {found}; this one knows formats up to 1: start the newer one again",
            theirs.display()
        );
        assert_eq!(refusal, expected);
        assert!(theirs.exists() && !folder.0.join("quarantine").exists());
        assert_eq!(fs::read(&ours).unwrap(), bytes);
        fs::remove_file(&theirs).unwrap();
    }
    assert_eq!(recover(&folder.spool()).unwrap().sealed.len(), 1);
}
