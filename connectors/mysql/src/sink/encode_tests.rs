use std::sync::Arc;

use arrow::array::{
    Date32Array, Int64Array, Time32MillisecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};

use super::*;

fn one(array: impl Array + 'static, keeps: Keeps) -> Result<Value, String> {
    let array: ArrayRef = Arc::new(array);
    Encoder::new(&array, keeps, Zone::named("Europe/Berlin").unwrap()).unwrap().value(0)
}

fn decimal(unscaled: i128, precision: u8, scale: i8) -> Decimal128Array {
    Decimal128Array::from(vec![unscaled]).with_precision_and_scale(precision, scale).unwrap()
}

#[test]
fn decimals_are_sent_digit_by_digit() {
    let text = |unscaled, precision, scale| match one(decimal(unscaled, precision, scale), Keeps::Anything).unwrap() {
        Value::Bytes(text) => String::from_utf8(text).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(text(-1250, 10, 2), "-12.50");
    assert_eq!(text(-5, 3, 3), "-0.005");
    assert_eq!(text(0, 3, 1), "0.0");
    assert_eq!(text(10_i128.pow(38) - 1, 38, 0), "9".repeat(38));
    assert_eq!(text(1 - 10_i128.pow(38), 38, 38), format!("-0.{}", "9".repeat(38)));
}

#[test]
fn what_the_column_does_not_keep_is_an_error_unless_it_is_zero() {
    assert!(one(decimal(1250, 10, 2), Keeps::Digits(1)).is_ok());
    assert!(one(decimal(1255, 10, 2), Keeps::Digits(1)).is_err());
    assert!(one(decimal(1255, 10, 2), Keeps::Digits(0)).is_err());
    let at = |micros| TimestampMicrosecondArray::from(vec![micros]);
    assert!(one(at(1_500_000), Keeps::Clock(1)).is_ok());
    assert!(one(at(1_500_000), Keeps::Clock(0)).is_err());
    assert!(one(at(-1), Keeps::Clock(6)).is_ok());
    assert!(one(TimestampNanosecondArray::from(vec![1_000]), Keeps::Clock(6)).is_ok());
    assert!(one(TimestampNanosecondArray::from(vec![1_001]), Keeps::Clock(6)).is_err());
    assert!(one(Time32MillisecondArray::from(vec![86_399_999]), Keeps::Clock(2)).is_err());
    for v in [f64::NAN, f64::INFINITY] {
        assert!(one(Float64Array::from(vec![v]), Keeps::Anything).is_err());
        assert!(one(Float32Array::from(vec![v as f32]), Keeps::Anything).is_err());
    }
    for day in [-719_529, 2_932_897] {
        assert!(one(Date32Array::from(vec![day]), Keeps::Anything).is_err(), "years -1 and 10000");
    }
    assert!(one(TimestampMicrosecondArray::from(vec![i64::MAX]), Keeps::Clock(6)).is_err());
}

#[test]
fn instants_and_readings_meet_in_the_zone_of_the_session() {
    // 2024-07-01 12:00 UTC is 14:00 in Berlin.
    let noon = 1_719_835_200_000_000;
    let local = || TimestampMicrosecondArray::from(vec![noon]);
    let instant = || local().with_timezone("UTC");
    let hour = |value: Result<Value, String>| match value.unwrap() {
        Value::Date(2024, 7, 1, hour, 0, 0, 0) => hour,
        other => panic!("{other:?}"),
    };
    assert_eq!(hour(one(local(), Keeps::Clock(0))), 12);
    assert_eq!(hour(one(instant(), Keeps::Instant(0))), 12, "the session is in UTC");
    assert_eq!(hour(one(instant(), Keeps::Clock(0))), 14);
    assert_eq!(hour(one(local(), Keeps::Instant(0))), 10);
}

#[test]
fn null_is_null_and_others_are_themselves() {
    assert_eq!(one(Int64Array::from(vec![None]), Keeps::Anything), Ok(Value::NULL));
    assert_eq!(one(TimestampMicrosecondArray::from(vec![None]), Keeps::Clock(0)), Ok(Value::NULL));
    assert_eq!(one(Float64Array::from(vec![None]), Keeps::Anything), Ok(Value::NULL));
    assert_eq!(one(Int64Array::from(vec![i64::MIN]), Keeps::Anything), Ok(Value::Int(i64::MIN)));
    assert_eq!(one(Date32Array::from(vec![-1]), Keeps::Anything), Ok(Value::Date(1969, 12, 31, 0, 0, 0, 0)));
    assert_eq!(one(BooleanArray::from(vec![true]), Keeps::Digits(0)), Ok(Value::Int(1)));
    let text: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a string of twenty-six bytes"), None]));
    let text = Encoder::new(&text, Keeps::Anything, Zone::named("UTC").unwrap()).unwrap();
    assert_eq!((text.bytes(0), text.bytes(1), text.value(1)), (32, 4, Ok(Value::NULL)));
}
