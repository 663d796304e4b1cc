//! Tests of folders that other versions of this crate wrote.

use super::super::frame::{EARLIER, Piece, Reader, written_as};
use super::*;

#[test]
fn unknown_formats_are_left_alone() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("0000000001.journal");
    fs::write(&file, "mcp-http store 9\nsomething else").unwrap();
    let error = FileEngine::open(folder.path(), Durability::ProcessCrash).unwrap_err();
    let file_name = file.display();
    assert_eq!(
        error.to_string(),
        format!("{file_name} was written in format 9; this version of mcp-http reads formats 3 and 4")
    );
    assert_eq!(fs::read(&file).unwrap(), b"mcp-http store 9\nsomething else");
}

/// Frames of format 3 are the same as in format 4, without the kinds that came later.
#[test]
fn an_earlier_format_is_read_and_carried_over() {
    run(async {
        let folder = TempDir::new().unwrap();
        let (engine, node) = open(folder.path());
        let life = live(&engine, node).await;
        drop(engine);
        let file = segment(folder.path());
        let frames: Vec<_> = Reader::new(&fs::read(&file).unwrap())
            .map(|piece| match piece {
                Piece::Frame(frame) => frame,
                Piece::Hole { .. } => panic!("a hole in what was just written"),
            })
            .collect();
        fs::write(&file, written_as(EARLIER[0], &frames, b"")).unwrap();
        let copy = killed(folder.path());
        let (engine, node) = open(copy.path());
        assert_eq!((engine.recovery().unreadable_bytes, engine.recovery().missing_steps), (0, 0));
        life.goes_on(&engine, node).await;
        drop(engine);

        let opened = open::open(folder.path()).unwrap();
        let (engine, mut writer) = FileEngine::assemble(opened, Durability::ProcessCrash);
        for _ in 0..20 {
            writer.step(Duration::ZERO);
        }
        drop((engine, writer));
        assert!(!file.exists(), "all of it was written anew");
        let (engine, node) = open(folder.path());
        life.goes_on(&engine, node).await;
    });
}
