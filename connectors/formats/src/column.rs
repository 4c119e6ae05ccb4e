//! Columns under construction.
//!
//! A decoder appends one entry per record to every builder. When a record turns out bad halfway, [`ColumnBuilder::settle`]
//! brings all builders back to the same length with a NULL; the decoder remembers that row as *hidden* and
//! [`RowBuilder::finish`] filters hidden rows out. Bad records are rare, so good ones pay nothing for this.
//!
//! # Invariants
//! * Between two records every builder of a [`RowBuilder`] has exactly [`RowBuilder::len`] entries.
//! * Strings and bytes become view arrays; all top-level fields are nullable; map keys are never NULL.

use std::sync::Arc;

use arrow::array::{
    ArrayData, ArrayRef, BinaryViewBuilder, BooleanArray, BooleanBufferBuilder, ListArray, MapArray, NullArray,
    NullBufferBuilder, RecordBatch, RecordBatchOptions, StringViewBuilder, StructArray, make_array, new_null_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{ArrowNativeType, DataType, Field, Fields, SchemaRef};
use arrow::error::ArrowError;
use dflow_common::{SqlType, TypeKind};
use dflow_connector_api::FieldMask;

use crate::keys::KeyTable;

/// Values of one fixed width, carried as `ty`.
pub(crate) struct Fixed<N> {
    values: Vec<N>,
    nulls: NullBufferBuilder,
    ty: DataType,
}

impl<N: ArrowNativeType> Fixed<N> {
    fn new(ty: DataType) -> Self {
        Self { values: Vec::new(), nulls: NullBufferBuilder::new(0), ty }
    }

    #[inline]
    pub(crate) fn push(&mut self, value: N) {
        self.values.push(value);
        self.nulls.append_non_null();
    }

    fn push_null(&mut self) {
        self.values.push(N::default());
        self.nulls.append_null();
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let capacity = self.values.len();
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(capacity));
        let data = ArrayData::builder(self.ty.clone())
            .len(values.len())
            .add_buffer(Buffer::from_vec(values))
            .nulls(self.nulls.finish())
            .build()?;
        Ok(make_array(data))
    }
}

/// Booleans.
pub(crate) struct Booleans {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

impl Booleans {
    #[inline]
    pub(crate) fn push(&mut self, value: bool) {
        self.values.append(value);
        self.nulls.append_non_null();
    }
}

/// A list: entry `i` is `child[offsets[i]..offsets[i + 1]]`.
pub(crate) struct ListBuilder {
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    pub(crate) child: ColumnBuilder,
    field: Arc<Field>,
}

impl ListBuilder {
    /// Ends an entry at the child's present length. `None` when offsets overflow.
    pub(crate) fn close(&mut self, valid: bool) -> Option<()> {
        self.offsets.push(i32::try_from(self.child.len()).ok()?);
        self.nulls.append(valid);
        Some(())
    }
}

/// A map: a list of entries, keys never NULL.
pub(crate) struct MapBuilder {
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    pub(crate) keys: ColumnBuilder,
    pub(crate) values: ColumnBuilder,
    entries: Arc<Field>,
    /// The value to stand in for the key of an entry that failed halfway; that row is hidden.
    key_is_text: bool,
}

impl MapBuilder {
    /// Ends an entry of the column at the present number of map entries. `None` when offsets overflow.
    pub(crate) fn close(&mut self, valid: bool) -> Option<()> {
        self.offsets.push(i32::try_from(self.keys.len()).ok()?);
        self.nulls.append(valid);
        Some(())
    }
}

/// One column under construction.
pub(crate) enum ColumnBuilder {
    /// `NULL`
    Null(usize),
    /// `BOOLEAN`
    Bool(Booleans),
    /// `TINYINT`
    Int8(Fixed<i8>),
    /// `SMALLINT`
    Int16(Fixed<i16>),
    /// `INT`
    Int32(Fixed<i32>),
    /// `BIGINT`
    Int64(Fixed<i64>),
    /// `FLOAT`
    Float(Fixed<f32>),
    /// `DOUBLE`
    Double(Fixed<f64>),
    /// `DECIMAL(p, s)`
    Decimal(Fixed<i128>, u8, u8),
    /// `CHAR`, `VARCHAR`, `STRING`
    Text(StringViewBuilder),
    /// `BINARY`, `VARBINARY`, `BYTES`
    Bytes(BinaryViewBuilder),
    /// `DATE`
    Date(Fixed<i32>),
    /// `TIME`
    Time(Fixed<i32>),
    /// `TIMESTAMP(p)`; `true` for `TIMESTAMP_LTZ(p)`
    Timestamp(Fixed<i64>, u8, bool),
    /// `INTERVAL YEAR TO MONTH`
    Months(Fixed<i32>),
    /// `INTERVAL DAY TO SECOND`
    Millis(Fixed<i64>),
    /// `ARRAY`
    List(Box<ListBuilder>),
    /// `MAP`, `MULTISET`
    Map(Box<MapBuilder>),
    /// `ROW`
    Row(Box<RowBuilder>),
    /// A field nobody reads: all NULL, nothing is kept per row. Only among the columns of a [`RowBuilder`].
    Unread(DataType),
}

/// Applies the same code to whichever fixed-width builder it is.
macro_rules! fixed {
    ($self:expr, $f:ident => $fixed:expr, $($rest:tt)*) => {
        match $self {
            ColumnBuilder::Int8($f) => $fixed,
            ColumnBuilder::Int16($f) => $fixed,
            ColumnBuilder::Int32($f) | ColumnBuilder::Date($f) | ColumnBuilder::Time($f) | ColumnBuilder::Months($f) => $fixed,
            ColumnBuilder::Int64($f) | ColumnBuilder::Timestamp($f, ..) | ColumnBuilder::Millis($f) => $fixed,
            ColumnBuilder::Float($f) => $fixed,
            ColumnBuilder::Double($f) => $fixed,
            ColumnBuilder::Decimal($f, ..) => $fixed,
            $($rest)*
        }
    };
}

impl ColumnBuilder {
    /// An empty builder for a type.
    pub(crate) fn new(ty: &SqlType) -> Self {
        let arrow = ty.to_arrow();
        match &ty.kind {
            TypeKind::Null => Self::Null(0),
            TypeKind::Boolean => {
                Self::Bool(Booleans { values: BooleanBufferBuilder::new(0), nulls: NullBufferBuilder::new(0) })
            }
            TypeKind::TinyInt => Self::Int8(Fixed::new(arrow)),
            TypeKind::SmallInt => Self::Int16(Fixed::new(arrow)),
            TypeKind::Int => Self::Int32(Fixed::new(arrow)),
            TypeKind::BigInt => Self::Int64(Fixed::new(arrow)),
            TypeKind::Float => Self::Float(Fixed::new(arrow)),
            TypeKind::Double => Self::Double(Fixed::new(arrow)),
            TypeKind::Decimal(p, s) => Self::Decimal(Fixed::new(arrow), *p, *s),
            TypeKind::Char(_) | TypeKind::VarChar(_) => Self::Text(StringViewBuilder::new()),
            TypeKind::Binary(_) | TypeKind::VarBinary(_) => Self::Bytes(BinaryViewBuilder::new()),
            TypeKind::Date => Self::Date(Fixed::new(arrow)),
            TypeKind::Time(_) => Self::Time(Fixed::new(arrow)),
            TypeKind::Timestamp(p) => Self::Timestamp(Fixed::new(arrow), *p, false),
            TypeKind::TimestampLtz(p) => Self::Timestamp(Fixed::new(arrow), *p, true),
            TypeKind::IntervalYearMonth => Self::Months(Fixed::new(arrow)),
            TypeKind::IntervalDayTime => Self::Millis(Fixed::new(arrow)),
            TypeKind::Array(t) => Self::List(Box::new(ListBuilder {
                offsets: vec![0],
                nulls: NullBufferBuilder::new(0),
                child: Self::new(t),
                field: Arc::new(t.to_field("item")),
            })),
            TypeKind::Map(k, v) => Self::map(&arrow, k, v),
            TypeKind::Multiset(t) => Self::map(&arrow, t, &SqlType::from(TypeKind::Int)),
            TypeKind::Row(fields) => Self::Row(Box::new(RowBuilder::new(
                fields.iter().map(|f| (f.name.as_str(), &f.ty, Some(&FieldMask::All))),
            ))),
        }
    }

    /// An empty builder that leaves out the fields of rows nobody reads; `None` when the whole column is one.
    pub(crate) fn masked(ty: &SqlType, mask: Option<&FieldMask>) -> Self {
        match (mask, &ty.kind) {
            (None, _) => Self::Unread(ty.to_arrow()),
            (Some(mask @ FieldMask::Fields(_)), TypeKind::Row(fields)) => Self::Row(Box::new(RowBuilder::new(
                fields.iter().enumerate().map(|(i, f)| (f.name.as_str(), &f.ty, mask.field(i))),
            ))),
            _ => Self::new(ty),
        }
    }

    fn map(arrow: &DataType, key: &SqlType, value: &SqlType) -> Self {
        let DataType::Map(entries, _) = arrow else { unreachable!("MAP and MULTISET travel as Arrow maps") };
        Self::Map(Box::new(MapBuilder {
            offsets: vec![0],
            nulls: NullBufferBuilder::new(0),
            keys: Self::new(key),
            values: Self::new(value),
            entries: entries.clone(),
            key_is_text: key.kind.is_string(),
        }))
    }

    /// Entries, complete ones.
    pub(crate) fn len(&self) -> usize {
        fixed!(self, f => f.values.len(),
            Self::Null(n) => *n,
            Self::Bool(b) => b.values.len(),
            Self::Text(b) => arrow::array::ArrayBuilder::len(b),
            Self::Bytes(b) => arrow::array::ArrayBuilder::len(b),
            Self::List(l) => l.offsets.len() - 1,
            Self::Map(m) => m.offsets.len() - 1,
            Self::Row(r) => r.len,
            Self::Unread(_) => 0,
        )
    }

    /// Entries, with one that was only begun.
    fn reach(&self) -> usize {
        match self {
            Self::Row(r) => r.columns.iter().map(Self::reach).max().unwrap_or(0).max(r.len),
            other => other.len(),
        }
    }

    /// Appends NULL.
    pub(crate) fn push_null(&mut self) {
        fixed!(self, f => f.push_null(),
            Self::Null(n) => *n += 1,
            Self::Bool(b) => {
                b.values.append(false);
                b.nulls.append_null();
            },
            Self::Text(b) => b.append_null(),
            Self::Bytes(b) => b.append_null(),
            Self::List(l) => {
                // The child did not grow, so its length fits as it did before.
                let last = l.offsets.last().copied().unwrap_or(0);
                l.offsets.push(last);
                l.nulls.append_null();
            },
            Self::Map(m) => {
                let last = m.offsets.last().copied().unwrap_or(0);
                m.offsets.push(last);
                m.nulls.append_null();
            },
            Self::Row(r) => r.push_null(),
            Self::Unread(_) => {},
        );
    }

    /// Makes the column exactly `n` entries long after a record failed somewhere inside entry `n - 1`.
    pub(crate) fn settle(&mut self, n: usize) {
        match self {
            Self::List(l) if l.offsets.len() - 1 < n => {
                l.child.settle(l.child.reach());
                // An overflow of offsets is what may have failed: the hidden row then shows no child entries.
                let last = l.offsets.last().copied().unwrap_or(0);
                l.offsets.push(i32::try_from(l.child.len()).unwrap_or(last));
                l.nulls.append_null();
            }
            Self::Map(m) if m.offsets.len() - 1 < n => {
                let entries = m.keys.reach().max(m.values.reach());
                m.values.settle(entries);
                if m.keys.len() < entries
                    && m.key_is_text
                    && let Self::Text(keys) = &mut m.keys
                {
                    keys.append_value("");
                }
                let last = m.offsets.last().copied().unwrap_or(0);
                m.offsets.push(i32::try_from(m.keys.len()).unwrap_or(last));
                m.nulls.append_null();
            }
            Self::Row(r) => r.settle(n),
            Self::Unread(_) => {}
            other if other.len() < n => other.push_null(),
            _ => {}
        }
    }

    /// The column as an array; the builder is empty afterwards.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        fixed!(self, f => f.finish(),
            Self::Null(n) => Ok(Arc::new(NullArray::new(std::mem::take(n)))),
            Self::Bool(b) => {
                let values = b.values.finish();
                Ok(Arc::new(BooleanArray::new(values, b.nulls.finish())))
            },
            Self::Text(b) => Ok(Arc::new(b.finish())),
            Self::Bytes(b) => Ok(Arc::new(b.finish())),
            Self::List(l) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut l.offsets, vec![0])));
                let array = ListArray::try_new(l.field.clone(), offsets, l.child.finish()?, l.nulls.finish())?;
                Ok(Arc::new(array))
            },
            Self::Map(m) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(&mut m.offsets, vec![0])));
                let DataType::Struct(fields) = m.entries.data_type() else {
                    return Err(ArrowError::SchemaError("map entries are a struct".into()));
                };
                let entries = StructArray::try_new(fields.clone(), vec![m.keys.finish()?, m.values.finish()?], None)?;
                Ok(Arc::new(MapArray::try_new(m.entries.clone(), offsets, entries, m.nulls.finish(), false)?))
            },
            Self::Row(r) => r.finish_struct(),
            Self::Unread(ty) => Ok(new_null_array(ty, 0)),
        )
    }
}

/// Several columns of equal length: the fields of a `ROW`, or a whole table.
pub(crate) struct RowBuilder {
    /// One per field.
    pub(crate) columns: Vec<ColumnBuilder>,
    /// Finds a field by name.
    pub(crate) keys: KeyTable,
    fields: Fields,
    /// Columns that somebody reads.
    pub(crate) read: usize,
    len: usize,
    nulls: NullBufferBuilder,
}

impl RowBuilder {
    /// An empty builder of these fields; without a mask a field is not read.
    pub(crate) fn new<'a>(fields: impl Iterator<Item = (&'a str, &'a SqlType, Option<&'a FieldMask>)> + Clone) -> Self {
        let columns: Vec<_> = fields.clone().map(|(_, ty, mask)| ColumnBuilder::masked(ty, mask)).collect();
        Self {
            read: columns.iter().filter(|c| !matches!(c, ColumnBuilder::Unread(_))).count(),
            columns,
            keys: KeyTable::new(fields.clone().map(|(name, _, mask)| mask.map(|_| name))),
            fields: fields.map(|(name, ty, _)| ty.to_field(name)).collect(),
            len: 0,
            nulls: NullBufferBuilder::new(0),
        }
    }

    /// The name of a column.
    pub(crate) fn name(&self, column: usize) -> &str {
        self.fields[column].name()
    }

    /// Complete rows.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Every column has its entry: the row is complete.
    #[inline]
    pub(crate) fn close(&mut self) {
        debug_assert!(
            self.columns.iter().all(|c| matches!(c, ColumnBuilder::Unread(_)) || c.len() == self.len + 1),
            "one entry per column and row"
        );
        self.len += 1;
        self.nulls.append_non_null();
    }

    fn push_null(&mut self) {
        self.columns.iter_mut().for_each(ColumnBuilder::push_null);
        self.len += 1;
        self.nulls.append_null();
    }

    /// [`ColumnBuilder::settle`] for all columns.
    pub(crate) fn settle(&mut self, n: usize) {
        self.columns.iter_mut().for_each(|c| c.settle(n));
        if self.len < n {
            self.len = n;
            self.nulls.append_null();
        }
    }

    fn finish_columns(&mut self, len: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        self.columns
            .iter_mut()
            .map(|c| match c {
                ColumnBuilder::Unread(ty) => Ok(new_null_array(ty, len)),
                column => column.finish(),
            })
            .collect()
    }

    fn finish_struct(&mut self) -> Result<ArrayRef, ArrowError> {
        let len = std::mem::take(&mut self.len);
        let columns = self.finish_columns(len)?;
        Ok(Arc::new(StructArray::try_new_with_length(self.fields.clone(), columns, self.nulls.finish(), len)?))
    }

    /// All rows but the hidden ones (ascending indices) as a batch of `schema`; the builder is empty afterwards.
    pub(crate) fn finish(&mut self, schema: &SchemaRef, hidden: &[usize]) -> Result<RecordBatch, ArrowError> {
        let len = std::mem::take(&mut self.len);
        self.nulls.finish();
        let columns = self.finish_columns(len)?;
        let options = RecordBatchOptions::new().with_row_count(Some(len));
        let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
        if hidden.is_empty() {
            return Ok(batch);
        }
        let mut mask = vec![true; len];
        hidden.iter().for_each(|i| mask[*i] = false);
        filter_record_batch(&batch, &BooleanArray::new(BooleanBuffer::from(mask), None))
    }
}

/// A column that holds the value `text` reads as, `rows` times; NULL for `None`. For columns whose value stands
/// outside the records, such as in a path.
///
/// # Errors
/// A reason when the text does not read as the type, or the type is nested.
pub fn constant(ty: &SqlType, text: Option<&str>, rows: usize) -> Result<ArrayRef, String> {
    let mut builder = ColumnBuilder::new(ty);
    match text {
        Some(text) => crate::json::values::push_text(text, &mut builder, b' ')?,
        None => builder.push_null(),
    }
    let one = builder.finish().map_err(|e| e.to_string())?;
    repeat(&one, rows)
}

/// The first entry of `one`, `rows` times.
///
/// # Errors
/// When the result would be too large.
pub fn repeat(one: &ArrayRef, rows: usize) -> Result<ArrayRef, String> {
    let indices = arrow::array::UInt32Array::from(vec![0u32; rows]);
    arrow::compute::take(one, &indices, None).map_err(|e| e.to_string())
}
