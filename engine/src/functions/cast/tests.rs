use arrow::array::{Decimal128Array, Float64Array, Int64Array, StringViewArray, TimestampMillisecondArray};
use datafusion::common::config::ConfigOptions;
use dflow_common::Diagnostic;

use super::*;
use crate::functions::error::{CAST_FAILED, EXPRESSION_FAILED, diagnose};

/// Runs the cast function over a column; the result as text.
fn run(column: ArrayRef, ty: TypeKind, is_try: bool, zone: &str) -> std::result::Result<Vec<String>, Box<Diagnostic>> {
    let zone = Zone::parse(zone).unwrap();
    let f = function(&ty.into(), is_try, zone);
    let field: FieldRef = Arc::new(Field::new("c", column.data_type().clone(), true));
    let constants = [None];
    let result = f
        .return_field_from_args(ReturnFieldArgs {
            arg_fields: std::slice::from_ref(&field),
            scalar_arguments: &constants,
        })
        .and_then(|return_field| {
            f.invoke_with_args(ScalarFunctionArgs {
                number_rows: column.len(),
                args: vec![ColumnarValue::Array(column)],
                arg_fields: vec![field],
                return_field,
                config_options: Arc::new(ConfigOptions::new()),
            })
        })
        .and_then(|v| v.into_array(0))
        .map_err(|e| Box::new(diagnose(&e)))?;
    let rules = Rules { is_try: false, zone, precision: None };
    let text = print::text(&result, &rules).unwrap();
    Ok(text.as_string_view().iter().map(|v| v.unwrap_or("NULL").to_owned()).collect())
}

fn text(values: &[&str]) -> ArrayRef {
    Arc::new(StringViewArray::from_iter(values.iter().map(|v| (*v != "NULL").then_some(*v))))
}

#[test]
fn a_value_that_cannot_be_cast_is_an_error_with_its_text_and_null_for_try_cast() {
    let column = || text(&["7", "NULL", "12abc"]);
    let d = run(column(), TypeKind::Int, false, "UTC").unwrap_err();
    assert_eq!(d.code, CAST_FAILED.code);
    assert!(d.message.contains("'12abc' to INT") && d.help[0].contains("TRY_CAST"), "{d}");
    assert_eq!(run(column(), TypeKind::Int, true, "UTC").unwrap(), ["7", "NULL", "NULL"]);
    let long = "x".repeat(500);
    assert!(run(text(&[&long]), TypeKind::Date, false, "UTC").unwrap_err().message.len() < 200);
}

#[test]
fn a_cast_that_does_not_exist_fails_with_a_code() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    assert_eq!(run(column, TypeKind::Timestamp(3), false, "UTC").unwrap_err().code, EXPRESSION_FAILED.code);
}

#[test]
fn numbers_wrap_saturate_and_round() {
    let ints: ArrayRef = Arc::new(Int64Array::from(vec![300, -129, 9_999_999_999]));
    assert_eq!(run(ints.clone(), TypeKind::TinyInt, false, "UTC").unwrap(), ["44", "127", "-1"]);
    assert_eq!(run(ints, TypeKind::Int, false, "UTC").unwrap(), ["300", "-129", "1410065407"]);
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![3e10, -7.9, f64::NAN, 1e300]));
    assert_eq!(run(floats.clone(), TypeKind::Int, false, "UTC").unwrap(), ["2147483647", "-7", "0", "2147483647"]);
    assert_eq!(run(floats, TypeKind::Decimal(6, 1), false, "UTC").unwrap(), ["NULL", "-7.9", "NULL", "NULL"]);
    let decimals: ArrayRef =
        Arc::new(Decimal128Array::from(vec![1_995, -1_995, 99_999_999]).with_precision_and_scale(10, 3).unwrap());
    assert_eq!(run(decimals.clone(), TypeKind::Decimal(5, 2), false, "UTC").unwrap(), ["2.00", "-2.00", "NULL"]);
    assert_eq!(run(decimals.clone(), TypeKind::Double, false, "UTC").unwrap(), ["1.995", "-1.995", "99999.999"]);
    assert_eq!(run(decimals, TypeKind::Boolean, false, "UTC").unwrap(), ["TRUE", "TRUE", "TRUE"]);
}

#[test]
fn floats_print_as_in_java() {
    let values = vec![1.0, 1e7, 9_999_999.0, 0.001, 0.0001, 123_456_789.0, -0.0, 1e20, 0.1 + 0.2, 5e-324, f64::MAX];
    let column: ArrayRef = Arc::new(Float64Array::from(values));
    let expected = [
        "1.0",
        "1.0E7",
        "9999999.0",
        "0.001",
        "1.0E-4",
        "1.23456789E8",
        "-0.0",
        "1.0E20",
        "0.30000000000000004",
        "5.0E-324",
        "1.7976931348623157E308",
    ];
    assert_eq!(run(column, SqlType::STRING.kind, false, "UTC").unwrap(), expected);
}

#[test]
fn instants_are_read_and_shown_in_the_session_zone() {
    let local = text(&["2024-07-01 12:00:00", "2024-01-01 12:00:00.5"]);
    // Shown through the same zone the text comes back; 12:00 in Paris is 10:00 UTC in summer.
    assert_eq!(
        run(local.clone(), TypeKind::TimestampLtz(3), false, "Europe/Paris").unwrap(),
        ["2024-07-01 12:00:00.000", "2024-01-01 12:00:00.500"]
    );
    let instant: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1_719_828_000_000]).with_timezone("UTC"));
    let shown = run(instant.clone(), SqlType::STRING.kind, false, "Europe/Paris").unwrap();
    assert_eq!(shown, ["2024-07-01 12:00:00.000"]);
    assert_eq!(
        run(instant.clone(), TypeKind::Timestamp(0), false, "Europe/Paris").unwrap(),
        ["2024-07-01 12:00:00.000"]
    );
    assert_eq!(run(instant, TypeKind::Date, false, "Pacific/Kiritimati").unwrap(), ["2024-07-02"]);
    assert_eq!(
        run(local, TypeKind::Timestamp(0), false, "UTC").unwrap()[1],
        "2024-01-01 12:00:00.000",
        "cut to seconds"
    );
}

#[test]
fn char_pads_and_varchar_cuts_in_characters() {
    let column = || text(&["äöü", "abcdef", "NULL", ""]);
    assert_eq!(run(column(), TypeKind::Char(5), false, "UTC").unwrap(), ["äöü  ", "abcde", "NULL", "     "]);
    assert_eq!(run(column(), TypeKind::VarChar(2), false, "UTC").unwrap(), ["äö", "ab", "NULL", ""]);
}
