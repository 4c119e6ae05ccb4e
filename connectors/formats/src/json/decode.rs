//! The decoder of `json`.

use dflow_connector_api::format::{FormatRequest, RecordDecoder, RecordDecoding};

use super::fault::Kind;
use super::values::{Rules, Values};
use crate::records::{BodyFault, LineDecoder, RecordBody, Rows};

pub(super) struct JsonDecoding {
    pub(super) request: FormatRequest,
    pub(super) rules: Rules,
}

impl RecordDecoding for JsonDecoding {
    fn decoder(&self, at_start: bool) -> Box<dyn RecordDecoder> {
        Box::new(LineDecoder::new(JsonBody { values: Values::new(self.rules) }, Rows::new(&self.request), at_start))
    }

    fn ignores_errors(&self) -> bool {
        self.rules.ignore_errors
    }
}

struct JsonBody {
    values: Values,
}

impl RecordBody for JsonBody {
    const SKIPS_BLANK_LINES: bool = true;

    #[inline]
    fn decode(&mut self, record: &[u8], rows: &mut Rows) -> Result<(), BodyFault> {
        object(&mut self.values, utf8(record)?, rows)
    }
}

/// The record as text.
pub(crate) fn utf8(record: &[u8]) -> Result<&str, BodyFault> {
    std::str::from_utf8(record).map_err(|e| (None, format!("not UTF-8 at byte {}", e.valid_up_to() + 1)))
}

/// Decodes one object into one row.
#[inline]
pub(crate) fn object(values: &mut Values, text: &str, rows: &mut Rows) -> Result<(), BodyFault> {
    match values.record(text, &mut rows.row) {
        Ok(()) => Ok(()),
        Err(fault) if fault.kind() == Kind::Duplicate => {
            // Builders only grow: the first attempt becomes a hidden row, the second keeps the last value of each key.
            let start = rows.row.len();
            rows.hide_from(start);
            values.record_careful(text, &mut rows.row).map_err(super::fault::Fault::into_parts)
        }
        Err(fault) => Err(fault.into_parts()),
    }
}
