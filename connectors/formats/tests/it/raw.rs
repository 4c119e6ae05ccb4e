use dflow_common::{SqlType, TypeKind};

use crate::kit::*;

fn bytes() -> SqlType {
    TypeKind::VarBinary(i32::MAX as u32).into()
}

#[test]
fn a_line_is_a_value() {
    let request = table(&[("line", string())], &[]);
    let text = "one\n\n  three \r\nlast";
    assert_eq!(
        rows("raw", &request, text),
        [r#"{"line":"one"}"#, r#"{"line":""}"#, r#"{"line":"  three "}"#, r#"{"line":"last"}"#]
    );
    assert_eq!(bad("raw", &request, b"ok\n\xff\n"), ["2:line: not UTF-8 at byte 1"]);
    assert_eq!(rows("raw", &table(&[("x", bytes())], &[]), "\u{1}\n"), [r#"{"x":"AQ=="}"#]);
}

#[test]
fn numbers_are_their_bytes() {
    for (options, message) in [(&[][..], [0, 0, 1, 2]), (&[("endianness", "little-endian")][..], [2, 1, 0, 0])] {
        let request = table(&[("n", int())], options);
        let mut d = decoder("raw", &request);
        d.decode_message(&message).unwrap();
        let batch = d.take().unwrap();
        assert_eq!(lines(&batch, &request), [r#"{"n":258}"#]);
        assert_eq!(encode("raw", &request, &batch)[..4], message);
    }
    let request = table(&[("n", int())], &[]);
    let bad = decoder("raw", &request).decode_message(b"abc").unwrap_err();
    assert_eq!(bad.message, "3 bytes where the column's type has 4");
}

#[test]
fn one_column_of_a_plain_type_is_needed() {
    assert_eq!(
        refused(format("raw").decoding(&table(&[("a", int()), ("b", int())], &[]))),
        ["DF5104 format 'raw' carries one column, the table has 2"]
    );
    assert_eq!(
        refused(format("raw").encoding(&table(&[("a", array(int()))], &[]))),
        ["DF5104 format 'raw' cannot carry column `a`"]
    );
}

#[test]
fn text_is_written_as_lines() {
    let request = table(&[("line", string())], &[]);
    let b = batch(&request, "{\"line\":\"a\"}\n{\"line\":null}\n{\"line\":\"é\"}\n");
    assert_eq!(encode("raw", &request, &b), "a\n\né\n".as_bytes());
}
