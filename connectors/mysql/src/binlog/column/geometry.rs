//! Geometries: a spatial reference and well-known binary, written as JSON.
//!
//! ```text
//! {"coordinates":[1,1],"type":"Point","srid":0}
//! {"geometries":[{"type":"Point","coordinates":[10,10]}],"type":"GeometryCollection","srid":0}
//! ```

use std::fmt::Write;

use super::super::bytes::{Cursor, Fault};

/// Levels of collections.
const DEPTH_MAX: usize = 16;
const BAD: Fault = Fault::Malformed("a geometry is damaged");

/// Writes a geometry as JSON.
pub fn write(bytes: &[u8], out: &mut String) -> Result<(), Fault> {
    let mut c = Cursor(bytes);
    let srid = c.u32()?;
    let shape = shape(&mut c)?;
    out.push('{');
    body(&mut c, shape, out, 0)?;
    let _ = write!(out, ",\"type\":\"{}\",\"srid\":{srid}}}", shape.name());
    if c.is_empty() { Ok(()) } else { Err(BAD) }
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Point,
    LineString,
    Polygon,
    MultiPoint,
    MultiLineString,
    MultiPolygon,
    GeometryCollection,
}

impl Shape {
    const ALL: [Shape; 7] = [
        Shape::Point,
        Shape::LineString,
        Shape::Polygon,
        Shape::MultiPoint,
        Shape::MultiLineString,
        Shape::MultiPolygon,
        Shape::GeometryCollection,
    ];

    fn name(self) -> &'static str {
        ["Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection"]
            [self as usize]
    }
}

/// The servers write the lowest byte first.
fn shape(c: &mut Cursor<'_>) -> Result<Shape, Fault> {
    if c.u8()? != 1 {
        return Err(BAD);
    }
    let number = c.u32()?;
    number.checked_sub(1).and_then(|i| Shape::ALL.get(i as usize)).copied().ok_or(BAD)
}

fn body(c: &mut Cursor<'_>, shape: Shape, out: &mut String, depth: usize) -> Result<(), Fault> {
    if shape != Shape::GeometryCollection {
        out.push_str("\"coordinates\":");
        return coordinates(c, shape, out);
    }
    if depth >= DEPTH_MAX {
        return Err(Fault::Malformed("a geometry is nested too deeply"));
    }
    out.push_str("\"geometries\":");
    list(c, out, |c, out| {
        let member = self::shape(c)?;
        let _ = write!(out, "{{\"type\":\"{}\",", member.name());
        body(c, member, out, depth + 1)?;
        out.push('}');
        Ok(())
    })
}

fn coordinates(c: &mut Cursor<'_>, shape: Shape, out: &mut String) -> Result<(), Fault> {
    match shape {
        Shape::Point => point(c, out),
        Shape::LineString => list(c, out, point),
        Shape::Polygon => list(c, out, |c, out| list(c, out, point)),
        _ => list(c, out, |c, out| {
            let member = self::shape(c)?;
            let expected = match shape {
                Shape::MultiPoint => Shape::Point,
                Shape::MultiLineString => Shape::LineString,
                _ => Shape::Polygon,
            };
            if member == expected { coordinates(c, member, out) } else { Err(BAD) }
        }),
    }
}

fn list(
    c: &mut Cursor<'_>,
    out: &mut String,
    mut item: impl FnMut(&mut Cursor<'_>, &mut String) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let n = c.u32()?;
    out.push('[');
    for i in 0..n {
        if i > 0 {
            out.push(',');
        }
        item(c, out)?;
    }
    out.push(']');
    Ok(())
}

fn point(c: &mut Cursor<'_>, out: &mut String) -> Result<(), Fault> {
    let (x, y) = (f64::from_bits(c.u64()?), f64::from_bits(c.u64()?));
    let _ = write!(out, "[{x},{y}]");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_geometry_is_refused() {
        let mut out = String::new();
        let point: Vec<u8> = [&[0, 0, 0, 0, 1, 1, 0, 0, 0][..], &1f64.to_le_bytes(), &2.5f64.to_le_bytes()].concat();
        write(&point, &mut out).unwrap();
        assert_eq!(out, r#"{"coordinates":[1,2.5],"type":"Point","srid":0}"#);
        for n in 0..point.len() {
            assert!(write(&point[..n], &mut String::new()).is_err(), "{n} bytes");
        }
        assert_eq!(write(&[0, 0, 0, 0, 1, 8, 0, 0, 0], &mut out), Err(BAD));
        // Collections in collections.
        let deep = [&[0, 0, 0, 0][..], &[1, 7, 0, 0, 0, 1, 0, 0, 0].repeat(20)].concat();
        assert_eq!(write(&deep, &mut out), Err(Fault::Malformed("a geometry is nested too deeply")));
    }
}
