//! Instants as readings of the session's clock: what a person is shown.
//!
//! ```text
//! TIMESTAMP_LTZ 2024-01-01T00:00:00Z, zone Asia/Shanghai    TIMESTAMP 2024-01-01 08:00:00
//! ```
//! Also inside of rows, arrays and maps. Everything else is passed on as it is.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, ListArray, MapArray, PrimitiveArray, RecordBatch, RecordBatchOptions,
    StructArray,
};
use arrow::datatypes::{
    DataType, Field, FieldRef, Schema, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;

use super::Zone;

/// A batch whose columns of instants are readings of the clock in `zone`.
///
/// # Errors
/// None for batches of SQL types: Arrow checks the parts again when it puts them together.
pub fn local_batch(batch: &RecordBatch, zone: Zone) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(|c| local(c, zone)).collect::<Result<Vec<_>, _>>()?;
    let fields: Vec<FieldRef> = batch.schema().fields().iter().zip(&columns).map(|(f, c)| retyped(f, c)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

fn local(array: &ArrayRef, zone: Zone) -> Result<ArrayRef, ArrowError> {
    Ok(match array.data_type() {
        DataType::Timestamp(unit, Some(_)) => match unit {
            TimeUnit::Second => readings::<TimestampSecondType>(array, zone, 1),
            TimeUnit::Millisecond => readings::<TimestampMillisecondType>(array, zone, 1_000),
            TimeUnit::Microsecond => readings::<TimestampMicrosecondType>(array, zone, 1_000_000),
            TimeUnit::Nanosecond => readings::<TimestampNanosecondType>(array, zone, 1_000_000_000),
        },
        DataType::Struct(_) => Arc::new(local_struct(array.as_struct(), zone)?),
        DataType::List(field) => {
            let list = array.as_list::<i32>();
            let values = local(list.values(), zone)?;
            let field = retyped(field, &values);
            Arc::new(ListArray::try_new(field, list.offsets().clone(), values, list.nulls().cloned())?)
        }
        DataType::Map(field, sorted) => {
            let map = array.as_map();
            let entries = local_struct(map.entries(), zone)?;
            let field = Field::new(field.name(), entries.data_type().clone(), field.is_nullable());
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Arc::new(MapArray::try_new(Arc::new(field), offsets, entries, nulls, *sorted)?)
        }
        _ => Arc::clone(array),
    })
}

fn local_struct(array: &StructArray, zone: Zone) -> Result<StructArray, ArrowError> {
    if array.num_columns() == 0 {
        return Ok(array.clone());
    }
    let columns = array.columns().iter().map(|c| local(c, zone)).collect::<Result<Vec<_>, _>>()?;
    let fields: Vec<FieldRef> = array.fields().iter().zip(&columns).map(|(f, c)| retyped(f, c)).collect();
    StructArray::try_new(fields.into(), columns, array.nulls().cloned())
}

fn retyped(field: &Field, column: &ArrayRef) -> FieldRef {
    Arc::new(Field::new(field.name(), column.data_type().clone(), field.is_nullable()))
}

fn readings<T: ArrowPrimitiveType<Native = i64>>(array: &ArrayRef, zone: Zone, per_second: i64) -> ArrayRef {
    let local = |v: i64| v.saturating_add(zone.offset_at(v.div_euclid(per_second)).saturating_mul(per_second));
    let shifted: PrimitiveArray<T> = array.as_primitive::<T>().unary(local);
    // The array made by `unary` has the type of `T`, which has no zone.
    Arc::new(shifted)
}

#[cfg(test)]
mod tests {
    use arrow::array::{TimestampMillisecondArray, TimestampNanosecondArray};
    use arrow::util::display::array_value_to_string;

    use super::*;

    #[test]
    fn instants_are_shown_in_the_zone_wherever_they_are() {
        let instants: ArrayRef = Arc::new(
            TimestampMillisecondArray::from(vec![Some(0), None, Some(1_711_846_800_500)]).with_timezone("UTC"),
        );
        let field = |name: &str, a: &ArrayRef| Arc::new(Field::new(name, a.data_type().clone(), true));
        let row = StructArray::try_new(vec![field("at", &instants)].into(), vec![instants.clone()], None).unwrap();
        let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![i64::MAX, 1, -1]).with_timezone("UTC"));
        let plain: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![0, 0, 0]));
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("i", instants, true),
            ("r", Arc::new(row) as ArrayRef, true),
            ("n", nanos, true),
            ("p", plain, true),
        ])
        .unwrap();
        let shown = local_batch(&batch, Zone::parse("Europe/Paris").unwrap()).unwrap();
        let text = |column: usize, row: usize| array_value_to_string(shown.column(column), row).unwrap();
        assert_eq!(text(0, 0), "1970-01-01T01:00:00");
        assert_eq!(text(0, 1), "");
        assert_eq!(text(0, 2), "2024-03-31T03:00:00.500");
        assert_eq!(text(1, 2), "{at: 2024-03-31T03:00:00.500}");
        assert_eq!(text(2, 1), "1970-01-01T01:00:00.000000001");
        assert_eq!(text(3, 0), "1970-01-01T00:00:00");
    }
}
