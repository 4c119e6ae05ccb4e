//! Row events into the outputs that read their table, past the gates of what was read before.

use dflow_common::RowKind;

use super::{Assembler, Declared, Feed, Outcome, PLACES_MAX, Router};
use crate::binlog::event::{DUMMY_TABLE_ID, Rows, RowsKind, kind};
use crate::binlog::gate::Gate;
use crate::binlog::key::{Key, KeyColumns};
use crate::binlog::position::FilePosition;
use crate::binlog::rows::{Images, TableDecoder};
use crate::binlog::table_map::TableMap;
use crate::binlog::transaction::HeldRows;
use crate::error::{self, Error, Place};

impl<R: Router> Assembler<R> {
    pub(super) fn feeds(&mut self, map: &TableMap, place: Place<'_>) -> Result<Vec<Feed>, Error> {
        let mut feeds = Vec::new();
        for output in self.router.route(&map.database, &map.table) {
            let Declared { wanted, output: rows } = &self.outputs[output];
            let decoder = TableDecoder::compile(map, wanted, rows.policy(), place)?;
            let gate = self.router.gate(output, &map.database, &map.table);
            let gate = match gate.and_then(|i| Some((i, self.gates.get(i)?.as_ref()?))) {
                Some((i, gate)) => {
                    let column = gate.needs_key().then_some(gate.column.as_str());
                    let keys = KeyColumns::find(map, column).map_err(|column| {
                        error::column_missing(place, &format!("{}.{}", map.database, map.table), &column)
                    })?;
                    Some((i, keys))
                }
                None => None,
            };
            feeds.push(Feed { output, decoder, gate });
        }
        Ok(feeds)
    }

    /// Keys of rows that only the server can place.
    pub(super) fn needs_places(&mut self, rows: &Rows<'_>) -> Result<Option<Outcome>, Error> {
        let Some(Some(table)) = self.tables.get(&rows.table_id) else { return Ok(None) };
        let place = self.framer.place();
        for feed in &table.feeds {
            let Some((i, columns)) = &feed.gate else { continue };
            let Some(Some(gate)) = self.gates.get_mut(*i) else { continue };
            if gate.order.is_ours() || !gate.needs_key() || gate.is_past(self.framer.position()) {
                continue;
            }
            let mut keys: Vec<Key> = Vec::new();
            let bytes = Images::bytes(rows, place)?;
            let mut images = Images::new(rows, &bytes, &feed.decoder, 0, place)?;
            feed.decoder.all_keys(&mut images, columns, &mut |key| {
                if let Some(Some(key)) = key.first()
                    && gate.is_news(Some(key), self.framer.position()).is_none()
                    && !keys.contains(key)
                {
                    keys.push(key.clone());
                }
            })?;
            if !keys.is_empty() {
                // Rows that wait for XA COMMIT are placed when they come, and must stay so.
                if gate.placed() > PLACES_MAX && !self.tracker.holds() {
                    gate.forget_places();
                }
                return Ok(Some(Outcome::NeedsPlaces { gate: *i, keys }));
            }
        }
        Ok(None)
    }

    pub(super) fn rows(
        &mut self,
        rows: &Rows<'_>,
        timestamp: u32,
        skip: u64,
        behind: &FilePosition,
    ) -> Result<(), Error> {
        match self.tables.get_mut(&rows.table_id) {
            Some(None) => Ok(()),
            Some(Some(table)) => {
                if let Some(kept) = &mut self.kept {
                    if self.keeps {
                        kept.push(HeldRows::new(table.map.clone(), timestamp, rows));
                    }
                    return Ok(());
                }
                let mut feeds = std::mem::take(&mut table.feeds);
                let decoded = self.decode(&mut feeds, rows, timestamp, skip, behind);
                if let Some(Some(table)) = self.tables.get_mut(&rows.table_id) {
                    table.feeds = feeds;
                }
                decoded
            }
            None if rows.table_id == DUMMY_TABLE_ID => Ok(()),
            None => {
                let why = format!("table {} was not described before it", rows.table_id);
                let place = Place { file: &behind.file, pos: behind.pos };
                Err(error::damaged_event(place, kind::WRITE_ROWS, &why))
            }
        }
    }

    pub(super) fn decode(
        &mut self,
        feeds: &mut [Feed],
        rows: &Rows<'_>,
        timestamp: u32,
        skip: u64,
        behind: &FilePosition,
    ) -> Result<(), Error> {
        let place = Place { file: &behind.file, pos: behind.pos };
        let bytes = Images::bytes(rows, place)?;
        self.is_behind();
        for feed in feeds {
            if self.ahead.as_ref().is_some_and(|ahead| ahead.outputs.contains(&feed.output)) {
                continue;
            }
            let decoder = &feed.decoder;
            let mut images = Images::new(rows, &bytes, decoder, timestamp, place)?;
            for _ in 0..skip {
                decoder.skip_row(&mut images)?;
            }
            let output = &mut self.outputs[feed.output].output;
            if let Some((i, columns)) = &feed.gate
                && let Some(gate) = self.gates.get_mut(*i)
            {
                match gate {
                    Some(gate) if !gate.is_past(behind) => {
                        let mut decide = |kind, before: &[Option<Key>], after: &[Option<Key>]| {
                            news(gate, behind, kind, before, after)
                        };
                        while decoder.row_if(&mut images, output, columns, &mut self.scratch, &mut decide)? {}
                        continue;
                    }
                    _ => {
                        *gate = None;
                        feed.gate = None;
                    }
                }
            }
            while decoder.row(&mut images, output)? {}
        }
        Ok(())
    }
}

/// What a gate lets through of a change.
fn news(
    gate: &Gate,
    at: &FilePosition,
    kind: RowsKind,
    before: &[Option<Key>],
    after: &[Option<Key>],
) -> [Option<RowKind>; 2] {
    // Keys that only the server can place were placed before the event was decoded.
    let is_news = |key: &[Option<Key>]| gate.is_news(key.first().and_then(Option::as_ref), at).unwrap_or(true);
    let first = is_news(before);
    match kind {
        RowsKind::Write => [first.then_some(RowKind::Insert), None],
        RowsKind::Delete => [first.then_some(RowKind::Delete), None],
        RowsKind::Update => match (first, is_news(after)) {
            (true, true) => [Some(RowKind::UpdateBefore), Some(RowKind::UpdateAfter)],
            (true, false) => [Some(RowKind::Delete), None],
            (false, true) => [None, Some(RowKind::Insert)],
            (false, false) => [None, None],
        },
    }
}
