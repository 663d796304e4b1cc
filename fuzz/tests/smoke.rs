//! Smoke test of the fuzz targets: each runs over its corpus, and over random bytes from a fixed
//! seed, on a stable compiler. `FUZZ_RUNS` sets the number of random inputs, `FUZZ_SEED` the seed.

use std::path::Path;

fn survives(name: &str, target: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has a corpus");
    for file in files {
        eprintln!("{}", file.display());
        target(&std::fs::read(file).unwrap());
    }
    let mut random = Random(number("FUZZ_SEED", 0x5eed));
    for run in 0..number("FUZZ_RUNS", 2_000) {
        let mut input = vec![0; usize::try_from(random.next() % 600).unwrap()];
        // Small numbers select alternatives, and uniformly random bytes would rarely select well.
        let mask = if run % 2 == 0 { 0xff } else { 0x1f };
        input.iter_mut().for_each(|byte| *byte = random.next() as u8 & mask);
        if std::panic::catch_unwind(|| target(&input)).is_err() {
            let file = std::env::temp_dir().join(format!("{name}-{run}"));
            std::fs::write(&file, &input).unwrap();
            panic!("{name} broke; put {} into fuzz/corpus/{name}", file.display());
        }
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().expect("a number"))
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[test]
fn edge() {
    survives("edge", mcp_http_fuzz::edge);
}

#[test]
fn ids() {
    survives("ids", mcp_http_fuzz::ids);
}

#[test]
fn modern() {
    survives("modern", mcp_http_fuzz::modern);
}

#[test]
fn streams() {
    survives("streams", mcp_http_fuzz::streams);
}

#[test]
fn batch() {
    survives("batch", mcp_http_fuzz::batch);
}
