//! No bytes make a decoder panic, and what it says it did adds up.
//!
//! Seeds are fixed: a failure is repeated by running the test again.

use std::io::Cursor;
use std::path::Path;

use dflow_common::TypeKind;
use dflow_common::env::{Rng, SeededRng};
use dflow_connector_api::format::{Decoding, FormatRequest};

use crate::kit::*;

fn rounds() -> u64 {
    if std::env::var("DFLOW_TEST_LEVEL").is_ok_and(|l| l == "full") { 40_000 } else { 1_500 }
}

/// Changes, removes, doubles or moves a few bytes; pieces that mean something come more often than others.
fn mutate(rng: &SeededRng, seed: &[u8]) -> Vec<u8> {
    const PIECES: [&[u8]; 22] = [
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"\n",
        b"\r\n",
        b"null",
        b"-",
        b"1e999",
        b"\\u",
        b"\\ud800",
        b"\xff",
        b"\xc3",
        b"\0",
        b"99999999999999999999999999999999999999999",
        b"[[[[[[[[[[",
        b"\"id\":",
        b" ",
    ];
    let mut bytes = seed.to_vec();
    for _ in 0..=rng.below(4) {
        let at = rng.below(bytes.len() as u64 + 1) as usize;
        let end = (at + rng.below(8) as usize).min(bytes.len());
        match rng.below(5) {
            0 => drop(bytes.drain(at..end)),
            1 => {
                let piece = PIECES[rng.below(PIECES.len() as u64) as usize];
                bytes.splice(at..at, piece.iter().copied());
            }
            2 if at < bytes.len() => bytes[at] = rng.next_u64() as u8,
            3 => {
                let copy = bytes[at..end].to_vec();
                let to = rng.below(bytes.len() as u64 + 1) as usize;
                bytes.splice(to..to, copy);
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

/// Decodes the same bytes whole and cut in two; both must account for every byte and agree.
fn check(name: &str, request: &FormatRequest, bytes: &[u8], cut: usize) -> usize {
    let mut whole = decoder(name, request);
    let p = whole.decode(bytes, true, usize::MAX).unwrap();
    assert_eq!(p.bytes, bytes.len());
    let batch = whole.take().unwrap();
    let texts = lines(&batch, request);
    for bad in &p.bad {
        assert!(bad.offset + bad.len <= bytes.len() && bad.line < p.lines && bad.record < p.records, "{bad:?}");
    }

    let mut parts = decoder(name, request);
    let a = parts.decode(&bytes[..cut], false, usize::MAX).unwrap();
    let b = parts.decode(&bytes[a.bytes..], true, usize::MAX).unwrap();
    assert_eq!(a.bytes + b.bytes, bytes.len());
    assert_eq!(
        (a.lines + b.lines, a.records + b.records),
        (p.lines, p.records),
        "{:?}",
        String::from_utf8_lossy(bytes)
    );
    assert_eq!(a.bad.len() + b.bad.len(), p.bad.len());
    assert_eq!(lines(&parts.take().unwrap(), request), texts);

    let _ = parts.decode_message(bytes);
    parts.take().unwrap();
    p.bad.len()
}

fn fuzz(name: &str, request: &FormatRequest, seed: &str) {
    let rng = SeededRng::new(0x5eed + name.len() as u64);
    let (mut bad, mut good) = (0, 0);
    for _ in 0..rounds() {
        let bytes = mutate(&rng, seed.as_bytes());
        let cut = rng.below(bytes.len() as u64 + 1) as usize;
        match check(name, request, &bytes, cut) {
            0 => good += 1,
            _ => bad += 1,
        }
    }
    assert!(bad > rounds() / 20 && good > rounds() / 100, "the mutations hit both sides: {bad} bad, {good} good");
}

fn rich() -> Vec<(&'static str, dflow_common::SqlType)> {
    let mut columns = every_type();
    columns.push(("id", bigint()));
    columns.push(("l", array(row(&[("x", int()), ("y", array(string()))]))));
    columns.push(("m", map(row(&[("z", TypeKind::Decimal(5, 1).into())]))));
    columns
}

#[test]
fn json_takes_any_bytes() {
    let nested =
        r#","id":1,"l":[{"x":1,"y":["a","b\u00e9"]},{"x":2}],"m":{"k":{"z":1.5},"j":null},"skip":{"a":[1,"x"]}}"#;
    let seed: String = EVERY_TYPE_ROWS.lines().map(|l| format!("{}{nested}\n", l.trim_end_matches('}'))).collect();
    fuzz("json", &table(&rich(), &[]), &seed);
    fuzz("json", &table(&rich(), &[("ignore-parse-errors", "true")]), &seed);
}

#[test]
fn csv_takes_any_bytes() {
    let columns = [("id", int()), ("s", string()), ("l", array(int())), ("r", row(&[("x", int()), ("y", string())]))];
    let seed = "1,\"a \"\"b\"\"\nc\",1;2;3,4;x\n2,plain,,\r\n\n3,\"é\",5,6;z\n";
    fuzz("csv", &table(&columns, &[]), seed);
    fuzz(
        "csv",
        &table(&columns, &[("escape-character", "\\"), ("ignore-parse-errors", "true"), ("header", "true")]),
        seed,
    );
    fuzz("csv", &table(&columns, &[("disable-quote-character", "true"), ("allow-comments", "true")]), seed);
}

#[test]
fn debezium_json_takes_any_bytes() {
    let seed = read(&format!("{}/tests/data/orders.debezium.json", env!("CARGO_MANIFEST_DIR")));
    fuzz("debezium-json", &table(&[("id", int()), ("n", string())], &[]), &seed);
}

#[test]
fn raw_takes_any_bytes() {
    fuzz("raw", &table(&[("id", string())], &[]), "one\ntwo\r\n\nthree \u{e9}\n\"id\":");
}

#[test]
fn parquet_takes_any_bytes() {
    let request = table(&rich(), &[]);
    let text: String = EVERY_TYPE_ROWS
        .lines()
        .map(|l| {
            format!(
                "{},\"id\":1,\"l\":[{{\"x\":1,\"y\":[\"a\"]}}],\"m\":{{\"k\":{{\"z\":1.5}}}}}}\n",
                l.trim_end_matches('}')
            )
        })
        .collect();
    let file = encode("parquet", &request, &batch(&request, &text));
    let Ok(Decoding::Files(decoding)) = format("parquet").decoding(&request) else { panic!("parquet reads files") };
    // The library's own assertions print a backtrace each; they are expected here.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let rng = SeededRng::new(0x9a7);
    let (mut errors, mut read) = (0, 0);
    for _ in 0..rounds() / 10 {
        let mut bytes = file.clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << rng.below(8);
        }
        if rng.below(8) == 0 {
            bytes.truncate(rng.below(bytes.len() as u64) as usize);
        }
        let drain = || {
            let mut decoder = decoding.open(Path::new("x"), Box::new(Cursor::new(bytes.clone())), 0)?;
            while decoder.next()?.is_some() {}
            Ok::<_, dflow_connector_api::Error>(())
        };
        match drain() {
            Ok(()) => read += 1,
            Err(_) => errors += 1,
        }
    }
    std::panic::set_hook(hook);
    assert!(errors > 0 && read > 0, "{errors} errors, {read} read");
}
