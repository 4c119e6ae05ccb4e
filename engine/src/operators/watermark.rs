//! Watermark assignment: `WATERMARK FOR ts AS ts - INTERVAL '5' SECOND`, per split of the source.
//!
//! # Example
//! Two splits, delay 5 s, one watermark per tick:
//! ```text
//! split 0: 10:00:20     watermark of split 0   10:00:15
//! split 1: 10:00:07     watermark of split 1   10:00:02
//! tick                  out 10:00:02           the slowest split holds it back
//! (split 1 silent for `source.idle-timeout`)
//! tick                  out 10:00:15           idle splits are left out
//! ```
//! # Input and output
//! Rows pass unchanged. Watermarks never go back; one is sent only when it grew. When every split is idle the stream is
//! marked idle, and active again with the next row.
//!
//! # Invariants
//! * A split that was added and has sent nothing holds the watermark back until it sends, finishes or becomes idle.
//! * Time is only known at [`SplitEvent::Tick`]: a split is idle when no row of it came between two ticks that are
//!   `idle_timeout` or more apart. It is found idle at most one tick late, never early.
//! * A NULL time says nothing and is ignored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::max;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, IntervalUnit, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Literal};
use dflow_common::{ChangeBatch, Span};
use dflow_runtime::operator::{self, OperatorContext, OperatorFactory, Output, SplitEvent, Watermark};
use dflow_runtime::{Error, Result};

use super::error;

/// When a watermark that grew is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatermarkEmission {
    /// At ticks (`pipeline.auto-watermark-interval`).
    Periodic,
    /// After every batch that moves it (an interval of 0).
    EachBatch,
}

/// A watermark assigner.
#[derive(Clone, Debug)]
pub struct WatermarkSpec {
    /// The watermark of a row: a TIMESTAMP or TIMESTAMP_LTZ over the input's columns.
    pub expr: Arc<dyn PhysicalExpr>,
    /// Where it is written.
    pub span: Option<Span>,
    /// `source.idle-timeout` (`table.exec.source.idle-timeout`); `None` never declares a split idle.
    pub idle_timeout: Option<Duration>,
    /// When to send.
    pub emission: WatermarkEmission,
}

impl OperatorFactory for WatermarkSpec {
    fn create(&self, _: &OperatorContext) -> Result<Box<dyn operator::Operator>> {
        Ok(Box::new(Assigner {
            spec: self.clone(),
            splits: BTreeMap::new(),
            current: 0,
            emitted: Watermark::MIN,
            idle: false,
            quiet_since_us: None,
            data_since_tick: false,
        }))
    }
}

/// What is known of a split.
#[derive(Debug)]
struct Split {
    max_us: i64,
    /// The tick since which nothing came.
    quiet_since_us: Option<u64>,
    data_since_tick: bool,
    idle: bool,
}

impl Split {
    fn new() -> Self {
        Self { max_us: i64::MIN, quiet_since_us: None, data_since_tick: false, idle: false }
    }
}

struct Assigner {
    spec: WatermarkSpec,
    splits: BTreeMap<u32, Split>,
    current: u32,
    emitted: Watermark,
    idle: bool,
    /// As in [`Split`], for a source that has no split at the moment.
    quiet_since_us: Option<u64>,
    data_since_tick: bool,
}

impl Assigner {
    /// The newest watermark of a batch in microseconds; `None` when all are NULL.
    fn newest_us(&self, batch: &ChangeBatch) -> Result<Option<i64>> {
        let mut rows = batch.data.clone();
        if let Some(time) = shifted(&self.spec.expr) {
            let times = self.evaluate(time, &rows)?;
            // The newest row has the newest watermark: one row is shifted, not a batch.
            if matches!(times.data_type(), DataType::Timestamp(..)) {
                match newest_row(&times) {
                    Some(row) => rows = rows.slice(row, 1),
                    None => return Ok(None),
                }
            }
        }
        max_us(&self.evaluate(&self.spec.expr, &rows)?)
    }

    fn evaluate(&self, expr: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<ArrayRef> {
        expr.evaluate(rows)
            .and_then(|v| v.into_array(rows.num_rows()))
            .map_err(|e| error::expression(&e, self.spec.span, &self.spec.expr.to_string()))
    }

    fn idle_timeout_us(&self) -> Option<u64> {
        self.spec.idle_timeout.filter(|t| !t.is_zero()).map(|t| t.as_micros() as u64)
    }

    /// The least watermark of the splits that count.
    fn combined(&self) -> Option<i64> {
        self.splits.values().filter(|s| !s.idle).map(|s| s.max_us).min()
    }

    fn emit(&mut self, out: &mut Output) {
        if let Some(us) = self.combined()
            && us > self.emitted.0
        {
            self.emitted = Watermark(us);
            out.watermark(self.emitted);
        }
    }

    fn set_idle(&mut self, idle: bool, out: &mut Output) {
        if self.idle != idle {
            self.idle = idle;
            out.idle(idle);
        }
    }

    fn tick(&mut self, now_us: u64, out: &mut Output) {
        let quiet = |since: &mut Option<u64>, data: &mut bool, timeout: u64| {
            if std::mem::take(data) || since.is_none() {
                *since = Some(now_us);
            }
            since.is_some_and(|s| now_us.saturating_sub(s) >= timeout)
        };
        if let Some(timeout) = self.idle_timeout_us() {
            for split in self.splits.values_mut() {
                split.idle = quiet(&mut split.quiet_since_us, &mut split.data_since_tick, timeout);
            }
            let source_quiet = quiet(&mut self.quiet_since_us, &mut self.data_since_tick, timeout);
            let all_idle = self.splits.values().all(|s| s.idle) && (!self.splits.is_empty() || source_quiet);
            self.emit(out);
            self.set_idle(all_idle, out);
        } else {
            self.emit(out);
        }
    }
}

impl operator::Operator for Assigner {
    fn process(&mut self, _input: usize, batch: ChangeBatch, out: &mut Output) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let newest = self.newest_us(&batch)?;
        let split = self.splits.entry(self.current).or_insert_with(Split::new);
        split.data_since_tick = true;
        split.idle = false;
        if let Some(us) = newest {
            split.max_us = split.max_us.max(us);
        }
        self.data_since_tick = true;
        self.set_idle(false, out);
        out.batch(batch);
        if self.spec.emission == WatermarkEmission::EachBatch {
            self.emit(out);
        }
        Ok(())
    }

    /// Only the end of the input counts: other watermarks of the source are replaced by ours.
    fn watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        if watermark == Watermark::MAX && self.emitted != watermark {
            self.emitted = watermark;
            out.watermark(watermark);
        }
        Ok(())
    }

    fn split(&mut self, event: SplitEvent, out: &mut Output) -> Result<()> {
        match event {
            SplitEvent::Added(split) => {
                self.splits.insert(split, Split::new());
                self.set_idle(false, out);
            }
            SplitEvent::Finished(split) => {
                self.splits.remove(&split);
                if self.spec.emission == WatermarkEmission::EachBatch {
                    self.emit(out);
                }
            }
            SplitEvent::Current(split) => self.current = split,
            SplitEvent::Tick(now_us) => self.tick(now_us, out),
        }
        Ok(())
    }
}

/// The newest time of a timestamp column in microseconds; `None` when all are NULL.
fn max_us(times: &ArrayRef) -> Result<Option<i64>> {
    let DataType::Timestamp(unit, _) = times.data_type() else {
        return Err(Error::internal(format!("a watermark of type {}", times.data_type())));
    };
    Ok(match unit {
        TimeUnit::Second => max(times.as_primitive::<TimestampSecondType>()).map(|t| t.saturating_mul(1_000_000)),
        TimeUnit::Millisecond => max(times.as_primitive::<TimestampMillisecondType>()).map(|t| t.saturating_mul(1_000)),
        TimeUnit::Microsecond => max(times.as_primitive::<TimestampMicrosecondType>()),
        TimeUnit::Nanosecond => max(times.as_primitive::<TimestampNanosecondType>()).map(|t| t.div_euclid(1_000)),
    })
}

/// The time inside `time - INTERVAL '…'`, `time + INTERVAL '…'` and casts to another precision: expressions that never
/// fall while the time grows. `None` for the time itself and for all others.
fn shifted(expr: &Arc<dyn PhysicalExpr>) -> Option<&Arc<dyn PhysicalExpr>> {
    let inner = if let Some(b) = expr.downcast_ref::<BinaryExpr>() {
        let literal = b.right().downcast_ref::<Literal>()?;
        (fixed_length(literal.value()) && matches!(b.op(), Operator::Plus | Operator::Minus)).then(|| b.left())?
    } else {
        let cast = expr.downcast_ref::<CastExpr>()?;
        matches!(cast.cast_type(), DataType::Timestamp(..)).then(|| cast.expr())?
    };
    Some(shifted(inner).unwrap_or(inner))
}

/// Whether an interval is equally long everywhere. A month before March 30th, 23:00 is later than one before March 31st,
/// 01:00.
fn fixed_length(interval: &ScalarValue) -> bool {
    match interval {
        ScalarValue::IntervalMonthDayNano(Some(i)) => i.months == 0,
        other => matches!(other.data_type(), DataType::Interval(IntervalUnit::DayTime) | DataType::Duration(_)),
    }
}

/// The row of the greatest timestamp; `None` when all are NULL.
fn newest_row(times: &ArrayRef) -> Option<usize> {
    fn row<T: ArrowPrimitiveType<Native = i64>>(times: &ArrayRef) -> Option<usize> {
        let times = times.as_primitive::<T>();
        let newest = max(times)?;
        (0..times.len()).find(|i| times.value(*i) == newest && times.is_valid(*i))
    }
    match times.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => row::<TimestampSecondType>(times),
        DataType::Timestamp(TimeUnit::Millisecond, _) => row::<TimestampMillisecondType>(times),
        DataType::Timestamp(TimeUnit::Microsecond, _) => row::<TimestampMicrosecondType>(times),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => row::<TimestampNanosecondType>(times),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::TimestampMillisecondArray;
    use arrow::datatypes::IntervalMonthDayNano;
    use datafusion::physical_expr::expressions::Column;
    use dflow_runtime::operator::{Element, Operator as _};

    use super::*;

    const SECOND: u64 = 1_000_000;

    /// `WATERMARK FOR ts AS ts` over a column of milliseconds.
    fn assigner(idle: Option<u64>, emission: WatermarkEmission) -> Assigner {
        let spec = WatermarkSpec {
            expr: Arc::new(Column::new("ts", 0)),
            span: None,
            idle_timeout: idle.map(Duration::from_secs),
            emission,
        };
        Assigner {
            spec,
            splits: BTreeMap::new(),
            current: 0,
            emitted: Watermark::MIN,
            idle: false,
            quiet_since_us: None,
            data_since_tick: false,
        }
    }

    #[test]
    fn a_delayed_time_has_the_watermark_of_its_newest_row() {
        let interval =
            |months, nanos| ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, 0, nanos)));
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new("ts", 0));
        let minus = |of: &Arc<dyn PhysicalExpr>, value| -> Arc<dyn PhysicalExpr> {
            Arc::new(BinaryExpr::new(Arc::clone(of), Operator::Minus, Arc::new(Literal::new(value))))
        };
        let to_micros = |of: &Arc<dyn PhysicalExpr>| -> Arc<dyn PhysicalExpr> {
            Arc::new(CastExpr::new(Arc::clone(of), DataType::Timestamp(TimeUnit::Microsecond, None), None))
        };
        // A month has no fixed length; a difference of columns may fall while one of them grows.
        let both: Arc<dyn PhysicalExpr> =
            Arc::new(BinaryExpr::new(Arc::clone(&column), Operator::Minus, Arc::clone(&column)));
        assert!(shifted(&both).is_none());
        for (expr, one_row, expected) in [
            (Arc::clone(&column), false, 90_000_000),
            (minus(&column, interval(0, 5_000_000_000)), true, 85_000_000),
            (minus(&to_micros(&column), interval(0, 5_000_000_000)), true, 85_000_000),
            (to_micros(&minus(&column, interval(0, 5_000_000_000))), true, 85_000_000),
            (minus(&column, interval(1, 0)), false, 90_000_000 - 31 * 86_400_000_000),
        ] {
            assert_eq!(shifted(&expr).is_some(), one_row, "{expr}");
            let mut a = assigner(None, WatermarkEmission::Periodic);
            a.spec.expr = expr;
            assert_eq!(a.newest_us(&rows(&[Some(7), None, Some(90_000), Some(-1)])).unwrap(), Some(expected));
            assert_eq!(a.newest_us(&rows(&[None, None])).unwrap(), None);
        }
    }

    #[test]
    fn a_month_less_may_turn_two_times_around() {
        let month = ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(1, 0, 0)));
        let mut a = assigner(None, WatermarkEmission::Periodic);
        a.spec.expr =
            Arc::new(BinaryExpr::new(Arc::new(Column::new("ts", 0)), Operator::Minus, Arc::new(Literal::new(month))));
        // 2023-03-30 23:00 and 2023-03-31 01:00 become 2023-02-28 23:00 and 2023-02-28 01:00.
        let newest = a.newest_us(&rows(&[Some(1_680_217_200_000), Some(1_680_224_400_000)])).unwrap();
        assert_eq!(newest, Some(1_677_625_200_000_000));
    }

    fn rows(times: &[Option<i64>]) -> ChangeBatch {
        let column: ArrayRef = Arc::new(TimestampMillisecondArray::from(times.to_vec()));
        ChangeBatch::inserts(RecordBatch::try_from_iter([("ts", column)]).unwrap())
    }

    /// Runs `steps` and prints what comes out besides rows.
    fn run(a: &mut Assigner, steps: &[SplitEventOrRows]) -> Vec<String> {
        let mut out = Output::new();
        for step in steps {
            match step {
                SplitEventOrRows::Event(e) => a.split(*e, &mut out).unwrap(),
                SplitEventOrRows::Rows(split, times) => {
                    a.split(SplitEvent::Current(*split), &mut out).unwrap();
                    a.process(0, rows(times), &mut out).unwrap();
                }
            }
        }
        let printed = out.drain().filter_map(|e| match e {
            Element::Batch(_) => None,
            Element::Watermark(w) => Some((w.0 / 1_000).to_string()),
            Element::Idle => Some("idle".into()),
            Element::Active => Some("active".into()),
        });
        printed.collect()
    }

    enum SplitEventOrRows {
        Event(SplitEvent),
        Rows(u32, Vec<Option<i64>>),
    }
    use SplitEventOrRows::{Event, Rows};

    fn tick(seconds: u64) -> SplitEventOrRows {
        Event(SplitEvent::Tick(seconds * SECOND))
    }

    #[test]
    fn the_slowest_split_holds_the_watermark_back() {
        let mut a = assigner(None, WatermarkEmission::Periodic);
        let steps = [
            Event(SplitEvent::Added(0)),
            Event(SplitEvent::Added(1)),
            Rows(0, vec![Some(20), Some(10)]),
            tick(1),
            Rows(1, vec![Some(7), None]),
            tick(2),
            tick(3),
            Rows(1, vec![Some(5)]),
            tick(4),
        ];
        assert_eq!(run(&mut a, &steps), ["7"], "nothing while split 1 is silent, nothing when nothing grew");
    }

    #[test]
    fn an_idle_split_is_left_out_until_it_has_data_again() {
        let mut a = assigner(Some(5), WatermarkEmission::Periodic);
        let steps = [
            Event(SplitEvent::Added(0)),
            Event(SplitEvent::Added(1)),
            Rows(0, vec![Some(20)]),
            Rows(1, vec![Some(7)]),
            tick(1),
            Rows(0, vec![Some(30)]),
            tick(5),
            Rows(0, vec![Some(40)]),
            tick(6),
            Rows(1, vec![Some(8)]),
            Rows(0, vec![Some(50)]),
            tick(7),
            Rows(1, vec![Some(45)]),
            tick(8),
        ];
        assert_eq!(run(&mut a, &steps), ["7", "40", "45"]);
    }

    #[test]
    fn the_stream_is_idle_when_every_split_is_and_active_with_the_next_row() {
        let mut a = assigner(Some(5), WatermarkEmission::Periodic);
        let steps =
            [Event(SplitEvent::Added(0)), Rows(0, vec![Some(20)]), tick(1), tick(5), tick(6), Rows(0, vec![Some(21)])];
        assert_eq!(run(&mut a, &steps), ["20", "idle", "active"]);
    }

    #[test]
    fn a_finished_split_no_longer_holds_back_and_a_source_without_splits_becomes_idle() {
        let mut a = assigner(Some(5), WatermarkEmission::EachBatch);
        let steps = [
            Event(SplitEvent::Added(0)),
            Event(SplitEvent::Added(1)),
            Rows(0, vec![Some(20)]),
            Event(SplitEvent::Finished(1)),
            Event(SplitEvent::Finished(0)),
            tick(1),
            tick(6),
            Event(SplitEvent::Added(2)),
        ];
        assert_eq!(run(&mut a, &steps), ["20", "idle", "active"]);
    }

    #[test]
    fn without_an_idle_timeout_a_silent_split_holds_back_for_ever() {
        let mut a = assigner(None, WatermarkEmission::Periodic);
        let steps =
            [Event(SplitEvent::Added(0)), Event(SplitEvent::Added(1)), Rows(0, vec![Some(20)]), tick(1), tick(100_000)];
        assert!(run(&mut a, &steps).is_empty());
    }

    #[test]
    fn only_the_last_watermark_of_the_source_passes() {
        let mut a = assigner(None, WatermarkEmission::Periodic);
        let mut out = Output::new();
        a.watermark(Watermark(5), &mut out).unwrap();
        a.watermark(Watermark::MAX, &mut out).unwrap();
        a.watermark(Watermark::MAX, &mut out).unwrap();
        assert_eq!(out.drain().count(), 1);
    }
}
