//! Type texts.

use dflow_common::types::{LENGTH_MAX, RowField};
use dflow_common::{SqlType, TypeKind};
use dflow_dsl::error;
use dflow_dsl::types::{custom_type, flink_type, parse_type};
use proptest::prelude::*;

use crate::SOURCE;

fn ty(text: &str) -> SqlType {
    parse_type(SOURCE, text).unwrap_or_else(|d| panic!("{text}: {d}"))
}

#[test]
fn every_spelling_of_a_type_is_read() {
    use TypeKind as K;
    let cases = [
        ("BOOLEAN", K::Boolean),
        ("tinyint", K::TinyInt),
        ("SMALLINT", K::SmallInt),
        ("INT", K::Int),
        ("INTEGER", K::Int),
        ("BIGINT", K::BigInt),
        ("FLOAT", K::Float),
        ("DOUBLE", K::Double),
        ("DOUBLE PRECISION", K::Double),
        ("DECIMAL", K::Decimal(10, 0)),
        ("DECIMAL(5)", K::Decimal(5, 0)),
        ("NUMERIC(38, 38)", K::Decimal(38, 38)),
        ("DEC(1, 0)", K::Decimal(1, 0)),
        ("CHAR", K::Char(1)),
        ("CHARACTER(7)", K::Char(7)),
        ("VARCHAR", K::VarChar(1)),
        ("CHARACTER VARYING(10)", K::VarChar(10)),
        ("VARCHAR(2147483647)", K::VarChar(LENGTH_MAX)),
        ("STRING", K::VarChar(LENGTH_MAX)),
        ("BINARY(3)", K::Binary(3)),
        ("BINARY VARYING(3)", K::VarBinary(3)),
        ("BYTES", K::VarBinary(LENGTH_MAX)),
        ("DATE", K::Date),
        ("TIME", K::Time(0)),
        ("TIME(3) WITHOUT TIME ZONE", K::Time(3)),
        ("TIMESTAMP", K::Timestamp(6)),
        ("TIMESTAMP(0) WITHOUT TIME ZONE", K::Timestamp(0)),
        ("TIMESTAMP(9) WITH LOCAL TIME ZONE", K::TimestampLtz(9)),
        ("TIMESTAMP_LTZ(3)", K::TimestampLtz(3)),
        ("INTERVAL YEAR(4) TO MONTH", K::IntervalYearMonth),
        ("INTERVAL DAY TO SECOND(3)", K::IntervalDayTime),
        ("INTERVAL MINUTE", K::IntervalDayTime),
    ];
    for (text, kind) in cases {
        assert_eq!(ty(text), kind.into(), "{text}");
    }
}

#[test]
fn containers_nest_and_keep_not_null() {
    let int = || SqlType::from(TypeKind::Int);
    assert_eq!(
        ty("ARRAY<INT NOT NULL> NOT NULL"),
        SqlType::from(TypeKind::Array(Box::new(int().not_null()))).not_null()
    );
    assert_eq!(ty("INT NOT NULL ARRAY"), TypeKind::Array(Box::new(int().not_null())).into());
    assert_eq!(ty("INT ARRAY NOT NULL MULTISET").to_string(), "MULTISET<ARRAY<INT> NOT NULL>");
    assert_eq!(ty("MAP<STRING, ARRAY<ARRAY<INT>>>").to_string(), "MAP<STRING, ARRAY<ARRAY<INT>>>");
    assert_eq!(ty("ROW<>"), TypeKind::Row(Vec::new()).into());
    let row = ty("ROW(`order` INT NOT NULL, b STRING 'it''s b')");
    assert_eq!(row, ty("ROW<`order` INT NOT NULL, b STRING 'it''s b'>"));
    let TypeKind::Row(fields) = row.kind else { panic!() };
    assert_eq!((fields[0].name.as_str(), fields[0].ty.nullable), ("order", false));
    assert_eq!(fields[1].comment.as_deref(), Some("it's b"));
}

#[test]
fn wrong_types_say_what_is_wrong_with_them() {
    for (text, code, at) in [
        ("TEXT", error::UNKNOWN_TYPE, "TEXT"),
        ("ARRAY<JSON>", error::UNKNOWN_TYPE, "JSON"),
        ("VARIANT", error::UNKNOWN_TYPE, "VARIANT"),
        ("TIMESTAMP(3) WITH TIME ZONE", error::UNKNOWN_TYPE, "TIMESTAMP(3) WITH TIME ZONE"),
        ("ARRAY", error::UNKNOWN_TYPE, ""),
        ("MAP<INT>", error::UNKNOWN_TYPE, ">"),
        ("INT INT", error::UNKNOWN_TYPE, "INT"),
        ("ROW<a>", error::UNKNOWN_TYPE, ">"),
        ("ROW<value INT>", error::RESERVED_WORD, "value"),
        ("DECIMAL(0)", error::TYPE_PARAMETER, "0"),
        ("DECIMAL(39, 2)", error::TYPE_PARAMETER, "39"),
        ("DECIMAL(4, 5)", error::TYPE_PARAMETER, "5"),
        ("DECIMAL(4, 2, 1)", error::TYPE_PARAMETER, "1"),
        ("TIMESTAMP(10)", error::TYPE_PARAMETER, "10"),
        ("CHAR(0)", error::TYPE_PARAMETER, "0"),
        ("VARCHAR(2147483648)", error::TYPE_PARAMETER, "2147483648"),
        ("VARCHAR(99999999999999999999999)", error::TYPE_PARAMETER, "99999999999999999999999"),
        ("VARCHAR(1, 2)", error::TYPE_PARAMETER, "2"),
    ] {
        let d = parse_type(SOURCE, text).unwrap_err();
        let span = d.span().unwrap();
        assert_eq!((d.code, &text[span.range()]), (code.code, at), "{text}: {d}");
    }
}

fn any_type() -> impl Strategy<Value = SqlType> {
    use TypeKind as K;
    let leaf = prop_oneof![
        Just(K::Boolean),
        Just(K::TinyInt),
        Just(K::BigInt),
        Just(K::Double),
        Just(K::Date),
        Just(K::IntervalYearMonth),
        Just(K::IntervalDayTime),
        Just(K::VarChar(LENGTH_MAX)),
        Just(K::VarBinary(LENGTH_MAX)),
        (1..=38u8).prop_flat_map(|p| (Just(p), 0..=p)).prop_map(|(p, s)| K::Decimal(p, s)),
        (1..100u32).prop_map(K::Char),
        (1..100u32).prop_map(K::VarChar),
        (1..100u32).prop_map(K::Binary),
        (0..=9u8).prop_map(K::Time),
        (0..=9u8).prop_map(K::Timestamp),
        (0..=9u8).prop_map(K::TimestampLtz),
    ];
    let leaf = (leaf, any::<bool>()).prop_map(|(kind, nullable)| SqlType { kind, nullable });
    leaf.prop_recursive(4, 24, 4, |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        let field = ("[a-zé` ]{1,6}", inner.clone(), proptest::option::of("[a-z' ]{0,5}"))
            .prop_map(|(name, ty, comment)| RowField { name, ty, comment });
        let kind = prop_oneof![
            boxed().prop_map(K::Array),
            boxed().prop_map(K::Multiset),
            (boxed(), boxed()).prop_map(|(k, v)| K::Map(k, v)),
            proptest::collection::vec(field, 0..4).prop_map(K::Row),
        ];
        (kind, any::<bool>()).prop_map(|(kind, nullable)| SqlType { kind, nullable })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// What a CAST carries through sqlparser's tree is the type that was written.
    #[test]
    fn a_printed_type_reads_back_as_itself(ty in any_type()) {
        prop_assert_eq!(&*parse_type(SOURCE, &ty.to_string()).map_err(|d| d.to_string()).map(Box::new).unwrap(), &ty);
        prop_assert_eq!(flink_type(&custom_type(&ty)), Some(ty));
    }
}
