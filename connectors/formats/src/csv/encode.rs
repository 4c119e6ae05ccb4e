//! Columns to CSV.

use std::sync::Arc;

use dflow_common::ChangeBatch;
use dflow_connector_api::Result;
use dflow_connector_api::format::{Encoder, Encoding};

use super::Dialect;
use crate::bound::Bound;

pub(super) struct CsvEncoding {
    pub(super) dialect: Arc<Dialect>,
}

impl Encoding for CsvEncoding {
    fn encoder(&self) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(CsvEncoder {
            dialect: self.dialect.clone(),
            header: self.dialect.header,
            field: Vec::new(),
            element: Vec::new(),
        }))
    }

    fn extension(&self) -> &'static str {
        "csv"
    }

    fn changelog(&self) -> bool {
        false
    }

    fn appendable(&self) -> bool {
        true
    }
}

struct CsvEncoder {
    dialect: Arc<Dialect>,
    header: bool,
    field: Vec<u8>,
    element: Vec<u8>,
}

impl Encoder for CsvEncoder {
    fn encode(&mut self, batch: &ChangeBatch, out: &mut Vec<u8>) -> Result<()> {
        let columns = batch.data.columns().iter().map(Bound::new).collect::<Result<Vec<_>>>()?;
        if std::mem::take(&mut self.header) {
            for (i, field) in batch.data.schema_ref().fields().iter().enumerate() {
                if i > 0 {
                    out.push(self.dialect.delimiter);
                }
                self.dialect.write_field(field.name().as_bytes(), out);
            }
            out.push(b'\n');
        }
        for row in 0..batch.num_rows() {
            let line = out.len();
            for (i, column) in columns.iter().enumerate() {
                if i > 0 {
                    out.push(self.dialect.delimiter);
                }
                self.field(column, row, out);
            }
            // A record of one empty field would be an empty line, which is no record.
            if let Some(quote) = self.dialect.quote.filter(|_| out.len() == line) {
                out.extend_from_slice(&[quote, quote]);
            }
            out.push(b'\n');
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }
}

impl CsvEncoder {
    fn field(&mut self, column: &Bound<'_>, row: usize, out: &mut Vec<u8>) {
        let null = self.dialect.null.as_deref().unwrap_or_default();
        if column.is_null(row) {
            out.extend_from_slice(null.as_bytes());
            return;
        }
        match column {
            Bound::Text(a) => self.dialect.write_field(a.value(row).as_bytes(), out),
            Bound::List(a, child) => {
                let range = a.value_offsets()[row] as usize..a.value_offsets()[row + 1] as usize;
                self.joined(range.map(|i| (&**child, i)), out);
            }
            Bound::Row(_, fields) => self.joined(fields.iter().map(|(_, c)| (c, row)), out),
            scalar if self.dialect.bare_scalars => {
                scalar.write_plain(row, b' ', self.dialect.plain_decimals, out);
            }
            scalar => {
                self.field.clear();
                scalar.write_plain(row, b' ', self.dialect.plain_decimals, &mut self.field);
                self.dialect.write_field(&self.field, out);
            }
        }
    }

    fn joined<'a, 'b: 'a>(&mut self, elements: impl Iterator<Item = (&'a Bound<'b>, usize)>, out: &mut Vec<u8>) {
        self.field.clear();
        for (n, (column, i)) in elements.enumerate() {
            if n > 0 {
                self.field.extend_from_slice(self.dialect.elements.as_bytes());
            }
            if column.is_null(i) {
                self.field.extend_from_slice(self.dialect.null.as_deref().unwrap_or_default().as_bytes());
                continue;
            }
            self.element.clear();
            column.write_plain(i, b' ', self.dialect.plain_decimals, &mut self.element);
            self.field.extend_from_slice(&self.element);
        }
        self.dialect.write_field(&self.field, out);
    }
}

impl Dialect {
    /// Appends a field that is not NULL, in quotes or escaped where it would otherwise read back as something else.
    fn write_field(&self, text: &[u8], out: &mut Vec<u8>) {
        let special = |b: u8| self.special[usize::from(b)];
        // An empty text, the null literal and a comment sign need quotes to be told from what they look like.
        let lookalike = match &self.null {
            Some(null) => null.as_bytes() == text,
            None => false,
        } || (self.comments && text.first() == Some(&b'#'));
        if !lookalike && !text.iter().any(|b| special(*b)) {
            out.extend_from_slice(text);
            return;
        }
        let Some(quote) = self.quote else {
            for b in text {
                if let Some(escape) = self.escape.filter(|_| special(*b)) {
                    out.push(escape);
                }
                out.push(*b);
            }
            return;
        };
        out.push(quote);
        for b in text {
            match self.escape {
                Some(escape) if *b == escape => out.push(escape),
                _ if *b == quote => out.push(quote),
                _ => {}
            }
            out.push(*b);
        }
        out.push(quote);
    }
}
