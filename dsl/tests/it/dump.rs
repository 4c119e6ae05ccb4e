//! A tree as text, one line per node with its place: the form of the golden files.

use std::fmt::Write;

use dflow_common::Span;
use dflow_dsl::ast::*;

/// A statement with everything in it.
pub(crate) fn statement(s: &Statement) -> String {
    let mut d = Dump { out: String::new(), depth: 0 };
    d.statement(s);
    d.out
}

struct Dump {
    out: String,
    depth: usize,
}

fn at(span: Span) -> String {
    format!("@{}..{}", span.start, span.end)
}

fn idents(parts: &[Ident]) -> String {
    parts.iter().map(|i| format!("{i}{}", at(i.span))).collect::<Vec<_>>().join(" ")
}

fn flags(flags: &[(&str, bool)]) -> String {
    flags.iter().filter(|(_, on)| *on).map(|(name, _)| format!(" {name}")).collect()
}

impl Dump {
    fn line(&mut self, text: impl AsRef<str>) {
        let indent = "  ".repeat(self.depth);
        writeln!(self.out, "{indent}{}", text.as_ref()).unwrap();
    }

    fn nested(&mut self, text: impl AsRef<str>, inside: impl FnOnce(&mut Self)) {
        self.line(text);
        self.depth += 1;
        inside(self);
        self.depth -= 1;
    }

    fn text(&mut self, label: &str, text: &Text) {
        self.line(format!("{label} {:?} {}", text.value, at(text.span)));
    }

    fn comment(&mut self, comment: &Option<Text>) {
        if let Some(c) = comment {
            self.text("comment", c);
        }
    }

    fn options(&mut self, label: &str, options: &Option<Options>) {
        let Some(options) = options else { return };
        self.nested(format!("{label} {}", at(options.span)), |d| {
            for o in &options.entries {
                let (k, v) = (&o.key, &o.value);
                d.line(format!("{:?} {} = {:?} {}", k.value, at(k.span), v.value, at(v.span)));
            }
        });
    }

    fn query(&mut self, query: &Query) {
        self.nested(format!("query {}", at(query.span)), |d| {
            d.line(query.ast.to_string());
            for hint in &query.hints {
                let args = match &hint.args {
                    HintArgs::Names(names) => idents(names),
                    HintArgs::Options(o) => {
                        let text = |t: &Text| format!("{:?}{}", t.value, at(t.span));
                        o.entries
                            .iter()
                            .map(|e| format!("{}={}", text(&e.key), text(&e.value)))
                            .collect::<Vec<_>>()
                            .join(" ")
                    }
                };
                d.line(format!("hint {} {} on {:?}: {args}", hint.name, at(hint.span), hint.target));
            }
            for within in &query.withins {
                d.line(format!("within {} of {}", within.interval.ast, at(within.match_recognize)));
            }
        });
    }

    fn expr(&mut self, label: &str, expr: &Expr) {
        self.line(format!("{label} {} {}", expr.ast, at(expr.span)));
    }

    fn key(&mut self, key: &PrimaryKey) {
        let name = key.name.as_ref().map_or(String::new(), |n| format!(" {n}"));
        self.line(format!("primary-key{name} ({}) {}", idents(&key.columns), at(key.span)));
    }

    fn column(&mut self, c: &Column) {
        self.nested(format!("column {}{} {}", c.name, at(c.name.span), at(c.span)), |d| {
            match &c.kind {
                ColumnKind::Physical(ty) => d.line(format!("{} {}", ty.value, at(ty.span))),
                ColumnKind::Metadata { ty, key, is_virtual } => {
                    d.line(format!("{} {} metadata{}", ty.value, at(ty.span), flags(&[("virtual", *is_virtual)])));
                    if let Some(key) = key {
                        d.text("from", key);
                    }
                }
                ColumnKind::Computed(e) => d.expr("computed", e),
                ColumnKind::Name => {}
            }
            if let Some(key) = &c.primary_key {
                d.key(key);
            }
            d.comment(&c.comment);
        });
    }

    fn watermark(&mut self, w: &Watermark) {
        self.nested(format!("watermark {} {}", idents(&w.column), at(w.span)), |d| d.expr("as", &w.expr));
    }

    fn elements(&mut self, elements: &[TableElement]) {
        for element in elements {
            match element {
                TableElement::Column(c) => self.column(c),
                TableElement::Watermark(w) => self.watermark(w),
                TableElement::PrimaryKey(k) => self.key(k),
            }
        }
    }

    fn distribution(&mut self, d: &Distribution) {
        self.line(format!("distributed {:?} ({}) into {:?} {}", d.kind, idents(&d.columns), d.buckets, at(d.span)));
    }

    fn partitioned(&mut self, columns: &[Ident]) {
        if !columns.is_empty() {
            self.line(format!("partitioned-by ({})", idents(columns)));
        }
    }

    fn partition(&mut self, p: &PartitionSpec) {
        self.nested(format!("partition {}", at(p.span)), |d| {
            for (key, value) in &p.entries {
                match value {
                    Some(v) => d.expr(&format!("{key} ="), v),
                    None => d.line(key.to_string()),
                }
            }
        });
    }

    fn insert(&mut self, i: &Insert) {
        let head =
            format!("insert{} {}{} {}", flags(&[("overwrite", i.overwrite)]), i.table, at(i.table.span), at(i.span));
        self.nested(head, |d| {
            d.options("hint", &i.hint);
            if let Some(p) = &i.partition {
                d.partition(p);
            }
            if !i.columns.is_empty() {
                d.line(format!("columns ({})", i.columns.iter().map(|c| idents(c)).collect::<Vec<_>>().join(", ")));
            }
            d.query(&i.query);
            if let Some(c) = i.on_conflict {
                d.line(format!("on-conflict {:?} {}", c.action, at(c.span)));
            }
        });
    }

    fn set(&mut self, set: &StatementSet) {
        self.nested(format!("statement-set {}", at(set.span)), |d| set.inserts.iter().for_each(|i| d.insert(i)));
    }

    fn target(&mut self, target: &PlanTarget) {
        match target {
            PlanTarget::Query(q) => self.query(q),
            PlanTarget::Insert(i) => self.insert(i),
            PlanTarget::StatementSet(s) => self.set(s),
        }
    }

    fn alter_action(&mut self, action: &AlterTableAction) {
        use AlterTableAction as A;
        match action {
            A::SetOptions(o) => self.options("set", &Some(o.clone())),
            A::ResetOptions(keys) => keys.iter().for_each(|k| self.text("reset", k)),
            A::RenameTable(n) => self.line(format!("rename-to {n}{}", at(n.span))),
            A::RenameColumn { from, to } => self.line(format!("rename {} to {to}", idents(from))),
            A::Add(elements) => self.nested("add", |d| elements.iter().for_each(|e| d.alter_element(e))),
            A::Modify(elements) => self.nested("modify", |d| elements.iter().for_each(|e| d.alter_element(e))),
            A::AddPartitions { if_not_exists, partitions } => {
                self.nested(format!("add-partitions{}", flags(&[("if-not-exists", *if_not_exists)])), |d| {
                    for (p, o) in partitions {
                        d.partition(p);
                        d.options("with", o);
                    }
                });
            }
            A::DropPartitions { if_exists, partitions } => {
                self.nested(format!("drop-partitions{}", flags(&[("if-exists", *if_exists)])), |d| {
                    partitions.iter().for_each(|p| d.partition(p));
                });
            }
            A::DropColumns(columns) => {
                self.line(format!("drop-columns {}", columns.iter().map(|c| idents(c)).collect::<Vec<_>>().join(", ")));
            }
            A::DropPrimaryKey => self.line("drop-primary-key"),
            A::DropConstraint(n) => self.line(format!("drop-constraint {n}")),
            A::DropWatermark => self.line("drop-watermark"),
            A::DropDistribution => self.line("drop-distribution"),
        }
    }

    fn alter_element(&mut self, element: &AlterElement) {
        match element {
            AlterElement::Column { column, position } => {
                self.column(column);
                match position {
                    Some(ColumnPosition::First) => self.line("  first"),
                    Some(ColumnPosition::After(c)) => self.line(format!("  after {c}{}", at(c.span))),
                    None => {}
                }
            }
            AlterElement::Watermark(w) => self.watermark(w),
            AlterElement::PrimaryKey(k) => self.key(k),
            AlterElement::Distribution(d) => self.distribution(d),
        }
    }

    fn statement(&mut self, s: &Statement) {
        use StatementKind as K;
        let place = at(s.span);
        match &s.kind {
            K::CreateTable(c) => {
                let set = flags(&[
                    ("replace", c.mode == CreateMode::Replace),
                    ("temporary", c.temporary),
                    ("if-not-exists", c.if_not_exists),
                ]);
                self.nested(format!("create-table{set} {}{} {place}", c.name, at(c.name.span)), |d| {
                    d.elements(&c.elements);
                    d.comment(&c.comment);
                    c.distribution.iter().for_each(|x| d.distribution(x));
                    d.partitioned(&c.partitioned_by);
                    d.options("with", &c.options);
                    if let Some(like) = &c.like {
                        d.line(format!("like {}{} {}", like.source, at(like.source.span), at(like.span)));
                        for o in &like.options {
                            d.line(format!("  {:?} {:?} {}", o.merge, o.feature, at(o.span)));
                        }
                    }
                    c.query.iter().for_each(|q| d.query(q));
                });
            }
            K::CreateView(c) => {
                let set = flags(&[
                    ("replace", c.mode == CreateMode::Replace),
                    ("temporary", c.temporary),
                    ("if-not-exists", c.if_not_exists),
                ]);
                self.nested(format!("create-view{set} {}{} {place}", c.name, at(c.name.span)), |d| {
                    for column in &c.columns {
                        d.line(format!("column {}{}", column.name, at(column.name.span)));
                        d.comment(&column.comment);
                    }
                    d.comment(&c.comment);
                    d.query(&c.query);
                });
            }
            K::CreateCatalog(c) => {
                let head = format!("create-catalog{} {} {place}", flags(&[("if-not-exists", c.if_not_exists)]), c.name);
                self.nested(head, |d| {
                    d.comment(&c.comment);
                    d.options("with", &c.options);
                });
            }
            K::CreateDatabase(c) => {
                let head =
                    format!("create-database{} {} {place}", flags(&[("if-not-exists", c.if_not_exists)]), c.name);
                self.nested(head, |d| {
                    d.comment(&c.comment);
                    d.options("with", &c.options);
                });
            }
            K::CreateFunction(c) => {
                let set = flags(&[("if-not-exists", c.if_not_exists)]);
                self.nested(format!("create-function {:?}{set} {} {place}", c.scope, c.name), |d| {
                    d.text("as", &c.identifier);
                    c.language.iter().for_each(|l| d.line(format!("language {l}")));
                    c.resources.iter().for_each(|r| d.text(&format!("using {:?}", r.kind), &r.path));
                    d.options("with", &c.options);
                });
            }
            K::CreateModel(c) => {
                let set = flags(&[("temporary", c.temporary), ("if-not-exists", c.if_not_exists)]);
                self.nested(format!("create-model{set} {} {place}", c.name), |d| {
                    d.nested("input", |d| d.elements(&c.input));
                    d.nested("output", |d| d.elements(&c.output));
                    d.comment(&c.comment);
                    d.options("with", &c.options);
                    c.query.iter().for_each(|q| d.query(q));
                });
            }
            K::CreateMaterializedTable(c) => {
                let set = flags(&[("or-alter", c.or_alter), ("if-not-exists", c.if_not_exists)]);
                self.nested(format!("create-materialized-table{set} {} {place}", c.name), |d| {
                    d.elements(&c.elements);
                    d.comment(&c.comment);
                    c.distribution.iter().for_each(|x| d.distribution(x));
                    d.partitioned(&c.partitioned_by);
                    d.options("with", &c.options);
                    c.start_mode.iter().for_each(|t| d.text("start-mode", t));
                    c.freshness.iter().for_each(|e| d.expr("freshness", e));
                    c.refresh_mode.iter().for_each(|m| d.line(format!("refresh-mode {m}")));
                    d.query(&c.query);
                });
            }
            K::AlterTable(a) => {
                let head = format!("alter-table{} {} {place}", flags(&[("if-exists", a.if_exists)]), a.name);
                self.nested(head, |d| d.alter_action(&a.action));
            }
            K::AlterView(a) => self.nested(format!("alter-view {} {place}", a.name), |d| match &a.action {
                AlterViewAction::Rename(n) => d.line(format!("rename-to {n}")),
                AlterViewAction::Query(q) => d.query(q),
            }),
            K::AlterCatalog(a) => self.nested(format!("alter-catalog {} {place}", a.name), |d| match &a.action {
                AlterCatalogAction::SetOptions(o) => d.options("set", &Some(o.clone())),
                AlterCatalogAction::ResetOptions(keys) => keys.iter().for_each(|k| d.text("reset", k)),
                AlterCatalogAction::Comment(c) => d.text("comment", c),
            }),
            K::AlterDatabase(a) => {
                self.nested(format!("alter-database {} {place}", a.name), |d| {
                    d.options("set", &Some(a.options.clone()))
                });
            }
            K::AlterFunction(a) => {
                let set = flags(&[("if-exists", a.if_exists)]);
                self.nested(format!("alter-function {:?}{set} {} {place}", a.scope, a.name), |d| {
                    d.text("as", &a.identifier);
                    a.language.iter().for_each(|l| d.line(format!("language {l}")));
                });
            }
            K::AlterModel(a) => {
                let head = format!("alter-model{} {} {place}", flags(&[("if-exists", a.if_exists)]), a.name);
                self.nested(head, |d| match &a.action {
                    AlterModelAction::SetOptions(o) => d.options("set", &Some(o.clone())),
                    AlterModelAction::ResetOptions(keys) => keys.iter().for_each(|k| d.text("reset", k)),
                    AlterModelAction::Rename(n) => d.line(format!("rename-to {n}")),
                });
            }
            K::AlterMaterializedTable(a) => {
                use AlterMaterializedTableAction as A;
                self.nested(format!("alter-materialized-table {} {place}", a.name), |d| match &a.action {
                    A::Suspend => d.line("suspend"),
                    A::Resume(o) => {
                        d.line("resume");
                        d.options("with", o);
                    }
                    A::Refresh(p) => {
                        d.line("refresh");
                        p.iter().for_each(|p| d.partition(p));
                    }
                    A::Query(q) => d.query(q),
                    A::Table(t) => d.alter_action(t),
                });
            }
            K::Drop(x) => {
                let set = flags(&[
                    ("temporary", x.temporary),
                    ("system", x.system),
                    ("if-exists", x.if_exists),
                    ("cascade", x.cascade),
                ]);
                self.line(format!("drop {:?}{set} {}{} {place}", x.kind, x.name, at(x.name.span)));
            }
            K::Truncate(n) => self.line(format!("truncate {n}{} {place}", at(n.span))),
            K::Insert(i) => self.insert(i),
            K::StatementSet(s) => self.set(s),
            K::Update(u) => self.nested(format!("update {} {place}", u.table), |d| {
                u.alias.iter().for_each(|a| d.line(format!("alias {a}")));
                u.assignments.iter().for_each(|(c, e)| d.expr(&format!("{c} ="), e));
                u.filter.iter().for_each(|e| d.expr("where", e));
            }),
            K::Delete(x) => self.nested(format!("delete {} {place}", x.table), |d| {
                x.alias.iter().for_each(|a| d.line(format!("alias {a}")));
                x.filter.iter().for_each(|e| d.expr("where", e));
            }),
            K::Query(q) => self.query(q),
            K::Set(None) => self.line(format!("set {place}")),
            K::Set(Some(o)) => {
                let (k, v) = (&o.key, &o.value);
                self.line(format!("set {:?} {} = {:?} {} {place}", k.value, at(k.span), v.value, at(v.span)));
            }
            K::Reset(key) => {
                self.line(format!("reset {:?} {place}", key.as_ref().map(|k| &k.value)));
            }
            K::Use(Use::Catalog(c)) => self.line(format!("use-catalog {c} {place}")),
            K::Use(Use::Database(n)) => self.line(format!("use {n} {place}")),
            K::Use(Use::Modules(m)) => self.line(format!("use-modules {} {place}", idents(m))),
            K::Show(s) => {
                let mut line = match &s.what {
                    ShowWhat::Columns(n) => format!("show-columns {n}"),
                    ShowWhat::Partitions(n, _) => format!("show-partitions {n}"),
                    ShowWhat::Create(kind, n) => format!("show-create {kind:?} {n}"),
                    other => format!("show {other:?}"),
                };
                s.scope.iter().for_each(|n| write!(line, " from {n}").unwrap());
                if let Some(f) = &s.filter {
                    let set = flags(&[("not", f.negated), ("case-insensitive", f.case_insensitive)]);
                    write!(line, "{set} like {:?}", f.pattern.value).unwrap();
                }
                self.nested(format!("{line} {place}"), |d| {
                    if let ShowWhat::Partitions(_, Some(p)) = &s.what {
                        d.partition(p);
                    }
                });
            }
            K::Describe(x) => {
                let target = match &x.target {
                    DescribeTarget::Table(n) => n.to_string(),
                    DescribeTarget::Object(kind, n) => format!("{kind:?} {n}"),
                    DescribeTarget::Job(id) => format!("job {:?}", id.value),
                };
                self.line(format!("describe{} {target} {place}", flags(&[("extended", x.extended)])));
            }
            K::Explain(e) => self.nested(format!("explain {place}"), |d| {
                e.details.iter().for_each(|x| d.line(format!("{:?} {}", x.value, at(x.span))));
                d.target(&e.target);
            }),
            K::CompilePlan(c) => {
                let set = flags(&[("execute", c.execute), ("if-not-exists", c.if_not_exists)]);
                self.nested(format!("compile-plan{set} {:?} {place}", c.path.value), |d| d.target(&c.target));
            }
            K::ExecutePlan(p) => self.line(format!("execute-plan {:?} {place}", p.value)),
            K::LoadModule(m) => {
                self.nested(format!("load-module {} {place}", m.name), |d| d.options("with", &m.options))
            }
            K::UnloadModule(m) => self.line(format!("unload-module {m} {place}")),
            K::AddJar(p) => self.line(format!("add-jar {:?} {place}", p.value)),
            K::RemoveJar(p) => self.line(format!("remove-jar {:?} {place}", p.value)),
            K::Call(c) => self.nested(format!("call {} {place}", c.name), |d| d.expr("call", &c.call)),
            K::Analyze(a) => self.nested(format!("analyze {} {place}", a.table), |d| {
                a.partition.iter().for_each(|p| d.partition(p));
                match &a.columns {
                    AnalyzeColumns::None => {}
                    AnalyzeColumns::All => d.line("all columns"),
                    AnalyzeColumns::Some(c) => d.line(format!("columns {}", idents(c))),
                }
            }),
            K::StopJob(s) => {
                let set = flags(&[("savepoint", s.savepoint), ("drain", s.drain)]);
                self.line(format!("stop-job {:?}{set} {place}", s.id.value));
            }
            K::Help => self.line(format!("help {place}")),
            K::Quit => self.line(format!("quit {place}")),
            K::Clear => self.line(format!("clear {place}")),
            K::Invalid(i) => {
                let creates = i.creates.as_ref().map(|n| format!(" creates {n}")).unwrap_or_default();
                self.line(format!("invalid{creates} {place}"));
            }
        }
    }
}
