//! Filters pushed into a connector.
//!
//! A small language of ours, so that connectors need not know DataFusion. A connector may use any part of a
//! predicate to read less; the engine evaluates the whole filter again, so an answer that keeps too many rows is
//! right and one that keeps too few is a bug.

/// A literal in a pushed filter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A boolean.
    Bool(bool),
    /// Any whole number type.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// Unscaled value and scale.
    Decimal(i128, i8),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Days since 1970.
    Date(i32),
    /// Microseconds since 1970, wall clock.
    Timestamp(i64),
    /// Microseconds since 1970, UTC.
    Instant(i64),
}

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    /// `=`
    Eq,
    /// `<>`
    NotEq,
    /// `<`
    Lt,
    /// `<=`
    LtEq,
    /// `>`
    Gt,
    /// `>=`
    GtEq,
}

/// A filter over the physical columns of one table, by index into its schema.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// `column op value`
    Compare(usize, CompareOp, Value),
    /// `column IS NULL`
    IsNull(usize),
    /// `column IS NOT NULL`
    IsNotNull(usize),
    /// `column IN (…)`
    In(usize, Vec<Value>),
    /// All hold.
    And(Vec<Predicate>),
    /// One holds.
    Or(Vec<Predicate>),
    /// It does not hold.
    Not(Box<Predicate>),
}
