//! `UNION ALL`: every input passes through.
//!
//! # Example
//! ```text
//! in 0  + (a,1)      in 1  + (b,2)  - (b,2)      out  + (a,1)  + (b,2)  - (b,2)
//! ```
//! # Input and output
//! Any number of inputs of one schema; changes keep their kinds and the order within their input. The runtime combines
//! the inputs' watermarks.

use dflow_common::ChangeBatch;
use dflow_runtime::Result;
use dflow_runtime::operator::{Operator, OperatorContext, OperatorFactory, Output};

/// A union of any number of inputs.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnionSpec;

impl OperatorFactory for UnionSpec {
    fn create(&self, _: &OperatorContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(UnionSpec))
    }
}

impl Operator for UnionSpec {
    fn process(&mut self, _input: usize, batch: ChangeBatch, out: &mut Output) -> Result<()> {
        out.batch(batch);
        Ok(())
    }
}
