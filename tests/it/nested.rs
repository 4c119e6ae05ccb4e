//! Fields of rows within rows, from files.

use crate::support::Place;

#[test]
fn a_field_of_a_row_of_a_row_is_read_wherever_a_column_is() {
    let place = Place::new();
    place.write(
        "in/a.json",
        "{\"id\":1,\"n\":{\"a\":10,\"b\":{\"c\":\"x\",\"d\":{\"e\":7,\"f\":8}}}}\n\
         {\"id\":2,\"n\":{\"a\":20,\"b\":null}}\n\
         {\"id\":3,\"n\":{\"a\":30,\"b\":{\"c\":\"x\",\"d\":{\"e\":9,\"f\":1}}}}\n",
    );
    let table = "CREATE TABLE t (id INT, n ROW<a INT, b ROW<c STRING, d ROW<e INT, f INT>>>)
      WITH ('connector' = 'filesystem', 'path' = 'in', 'format' = 'json');\n";
    for (query, expected) in [
        ("SELECT n.b.c, t.n.b.d.f FROM t WHERE id < 3", "c,f\nx,8\n,\n"),
        ("SELECT id, n.b.d.e + n.a AS s FROM t WHERE n.b.c = 'x'", "id,s\n1,17\n3,39\n"),
        ("SELECT x.d.e FROM (SELECT n.b AS x, id FROM t) WHERE id = 3", "e\n9\n"),
        ("SELECT n.b.d.e FROM t WHERE n.b.d.f = 1", "e\n9\n"),
    ] {
        place.write("q.sql", format!("{table}{query};\n"));
        let ran = place.run(&["run", "q.sql", "-o", "csv", "-p", "1"]).expect(0);
        assert_eq!(ran.out, expected, "{query}");
    }
    place.write("q.sql", format!("{table}SELECT COUNT(DISTINCT n.b.c), MAX(n.b.d.e) FROM t;\n"));
    let ran = place.run(&["run", "q.sql", "-o", "csv", "-p", "1"]).expect(0);
    assert!(ran.out.ends_with("1,9\n"), "{}", ran.out);
}
