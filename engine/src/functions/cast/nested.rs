//! Casts of ARRAY, MAP and ROW: element by element, rows by position.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StringViewBuilder, StructArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use dflow_common::{SqlType, TypeKind};

use super::{Rules, impossible, print};

pub(super) fn possible(from: &DataType, to: &SqlType) -> bool {
    match (from, &to.kind) {
        (DataType::List(f), TypeKind::Array(t)) => super::possible(f.data_type(), t),
        (DataType::Struct(fields), TypeKind::Row(to)) => {
            fields.len() == to.len() && fields.iter().zip(to).all(|(f, t)| super::possible(f.data_type(), &t.ty))
        }
        (DataType::Map(entries, _), TypeKind::Map(k, v)) => match entries.data_type() {
            DataType::Struct(kv) if kv.len() == 2 => {
                super::possible(kv[0].data_type(), k) && super::possible(kv[1].data_type(), v)
            }
            _ => false,
        },
        (from, _) => *from == to.to_arrow(),
    }
}

pub(super) fn cast(array: &ArrayRef, to: &SqlType, rules: &Rules) -> Result<ArrayRef> {
    match (&to.kind, to.to_arrow()) {
        (TypeKind::Array(element), DataType::List(field)) => {
            let list = array.as_list_opt::<i32>().ok_or_else(|| impossible(array.data_type(), to))?;
            let values = super::cast(list.values(), element, rules)?;
            Ok(Arc::new(ListArray::try_new(field, list.offsets().clone(), values, list.nulls().cloned())?))
        }
        (TypeKind::Row(types), DataType::Struct(fields)) => {
            let row = array.as_struct_opt().ok_or_else(|| impossible(array.data_type(), to))?;
            let columns = row
                .columns()
                .iter()
                .zip(types)
                .map(|(column, field)| super::cast(column, &field.ty, rules))
                .collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(StructArray::try_new(fields, columns, row.nulls().cloned())?))
        }
        (TypeKind::Map(key, value), DataType::Map(entries, sorted)) => {
            let map = array.as_map_opt().ok_or_else(|| impossible(array.data_type(), to))?;
            let DataType::Struct(fields) = entries.data_type().clone() else {
                return Err(impossible(array.data_type(), to));
            };
            let columns = vec![super::cast(map.keys(), key, rules)?, super::cast(map.values(), value, rules)?];
            let pairs = StructArray::try_new(fields, columns, None)?;
            let offsets = map.offsets().clone();
            Ok(Arc::new(MapArray::try_new(entries, offsets, pairs, map.nulls().cloned(), sorted)?))
        }
        _ => Err(impossible(array.data_type(), to)),
    }
}

/// `[a, NULL]`, `{a=NULL}`, `(1, NULL)`.
pub(super) fn text(array: &ArrayRef, rules: &Rules) -> Result<ArrayRef> {
    let inner = Rules { precision: None, ..*rules };
    let mut builder = StringViewBuilder::with_capacity(array.len());
    let mut rows = |show: &dyn Fn(usize) -> String| {
        for row in 0..array.len() {
            if array.is_null(row) { builder.append_null() } else { builder.append_value(show(row)) }
        }
    };
    let value = |texts: &ArrayRef, i: usize| -> String {
        let texts = texts.as_string_view();
        if texts.is_null(i) { "NULL".into() } else { texts.value(i).into() }
    };
    if let Some(list) = array.as_list_opt::<i32>() {
        let texts = print::text(list.values(), &inner)?;
        rows(&|row| {
            let (from, to) = (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
            format!("[{}]", (from..to).map(|i| value(&texts, i)).collect::<Vec<_>>().join(", "))
        });
    } else if let Some(map) = array.as_map_opt() {
        let (keys, values) = (print::text(map.keys(), &inner)?, print::text(map.values(), &inner)?);
        rows(&|row| {
            let (from, to) = (map.value_offsets()[row] as usize, map.value_offsets()[row + 1] as usize);
            let pairs = (from..to).map(|i| format!("{}={}", value(&keys, i), value(&values, i)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        });
    } else if let Some(row) = array.as_struct_opt() {
        let columns = row.columns().iter().map(|c| print::text(c, &inner)).collect::<Result<Vec<_>>>()?;
        rows(&|i| format!("({})", columns.iter().map(|c| value(c, i)).collect::<Vec<_>>().join(", ")));
    } else {
        return Err(impossible(array.data_type(), &SqlType::STRING));
    }
    Ok(Arc::new(builder.finish()))
}
