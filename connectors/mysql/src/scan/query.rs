//! The statement of a split: columns, range, filter, order.

use dflow_common::TypeKind;
use dflow_connector_api::Value as Literal;
use dflow_connector_jdbc::filter::{Columns, Comparable, condition};
use dflow_connector_jdbc::quote::Dialect;
use dflow_connector_jdbc::split::Range;
use dflow_connector_jdbc::statement::Statements;
use mysql_async::consts::{ColumnFlags, ColumnType as C};
use mysql_async::prelude::Queryable;
use mysql_async::{Column, Value};

use super::Config;
use crate::client::Session;
use crate::client::endpoint::ZeroDates;
use crate::client::zone::{DAY, SECOND, civil};

/// SQL text and what is bound to it.
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// Builds the statement: asks the server for its columns' types and the primary key.
pub(super) async fn build(session: &mut Session, config: &Config, range: Option<Range>) -> mysql_async::Result<Query> {
    let schema = &config.output.schema;
    let name = |column: &usize| schema.columns[*column].name.clone();
    let (mut conditions, mut values) = (Vec::new(), Vec::new());
    if let (Some(range), Some(partitioning)) = (range, &config.options.partitioning) {
        let column = Dialect::MySql.name(&name(&partitioning.column));
        conditions.push(format!("{column} >= ? AND {column} {} ?", if range.closed { "<=" } else { "<" }));
        values.extend([Value::Int(range.lower), Value::Int(range.upper)]);
    }
    if let Some(predicate) = config.output.predicate.as_ref().filter(|_| config.options.push_filters) {
        let all: Vec<String> = (0..schema.columns.len()).map(|c| name(&c)).collect();
        let described = Statements::new(Dialect::MySql, &config.options.table, all, vec![]);
        // A column that does not exist is told by the statement itself, if it is read at all.
        if let Ok(statement) = session.conn.prep(described.select(Some("FALSE"))).await {
            let columns = Described { config, columns: &statement.columns() };
            if let Some(filter) = condition(Dialect::MySql, predicate, &columns) {
                conditions.push(filter.sql);
                values.extend(filter.values.into_iter().map(bound));
            }
            session.conn.close(statement).await?;
        }
    }
    let columns: Vec<String> = config.output.projection.iter().map(name).collect();
    let statements = Statements::new(Dialect::MySql, &config.options.table, columns, vec![]);
    let condition = (!conditions.is_empty()).then(|| conditions.join(" AND "));
    let mut sql = statements.select(condition.as_deref());
    let primary = "SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() \
                   AND TABLE_NAME = ? AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX";
    let primary: Vec<String> = session.conn.exec(primary, (&config.options.table,)).await?;
    if !primary.is_empty() {
        sql.push_str(" ORDER BY ");
        Dialect::MySql.push_names(&mut sql, primary.iter().map(String::as_str));
    }
    Ok(Query { sql, values })
}

/// The table's columns as the server describes them.
struct Described<'a> {
    config: &'a Config,
    columns: &'a [Column],
}

impl Columns for Described<'_> {
    fn name(&self, column: usize) -> &str {
        &self.config.output.schema.columns[column].name
    }

    /// Exact where a value reads as the very value that the server compares.
    fn comparable(&self, column: usize) -> Comparable {
        let server = &self.columns[column];
        let digits = server.decimals();
        let is_text = !server.flags().contains(ColumnFlags::BINARY_FLAG) || server.character_set() != 63;
        let is_integer = matches!(
            server.column_type(),
            C::MYSQL_TYPE_TINY
                | C::MYSQL_TYPE_SHORT
                | C::MYSQL_TYPE_INT24
                | C::MYSQL_TYPE_LONG
                | C::MYSQL_TYPE_LONGLONG
        );
        match (&self.config.output.schema.columns[column].ty.kind, server.column_type()) {
            (TypeKind::TinyInt | TypeKind::SmallInt | TypeKind::Int | TypeKind::BigInt, _) if is_integer => {
                Comparable::Exact
            }
            (TypeKind::Boolean, C::MYSQL_TYPE_BIT) => Comparable::Truth,
            (TypeKind::Boolean, _) if is_integer => Comparable::Truth,
            // What reads as NULL is not NULL there.
            (TypeKind::Date | TypeKind::Timestamp(_) | TypeKind::TimestampLtz(_), _)
                if self.config.endpoint.zero_dates == ZeroDates::Null =>
            {
                Comparable::No
            }
            (TypeKind::Date, C::MYSQL_TYPE_DATE) => Comparable::Exact,
            (TypeKind::Timestamp(p), C::MYSQL_TYPE_DATETIME) if digits <= *p => Comparable::Exact,
            (TypeKind::TimestampLtz(p), C::MYSQL_TYPE_TIMESTAMP) if digits <= *p => Comparable::Exact,
            (TypeKind::VarChar(_), C::MYSQL_TYPE_VAR_STRING | C::MYSQL_TYPE_STRING | C::MYSQL_TYPE_BLOB) if is_text => {
                Comparable::Equality
            }
            _ => Comparable::No,
        }
    }
}

/// A literal of a filter as a value of the protocol. Decimals and floats are never pushed.
fn bound(literal: Literal) -> Value {
    let date_time = |micros: i64| {
        let (year, month, day) = civil(micros.div_euclid(DAY));
        let rest = micros.rem_euclid(DAY);
        let seconds = rest / SECOND;
        let clock = ((seconds / 3_600) as u8, (seconds / 60 % 60) as u8, (seconds % 60) as u8);
        let year = year.clamp(0, 9_999) as u16;
        Value::Date(year, month, day, clock.0, clock.1, clock.2, (rest % SECOND) as u32)
    };
    match literal {
        Literal::Bool(v) => Value::Int(v.into()),
        Literal::Int(v) => Value::Int(v),
        Literal::Float(v) => Value::Double(v),
        Literal::Decimal(v, s) => Value::Bytes(format!("{v}e-{s}").into_bytes()),
        Literal::Text(v) => Value::Bytes(v.into_bytes()),
        Literal::Bytes(v) => Value::Bytes(v),
        Literal::Date(days) => date_time(i64::from(days) * DAY),
        Literal::Timestamp(micros) | Literal::Instant(micros) => date_time(micros),
    }
}
