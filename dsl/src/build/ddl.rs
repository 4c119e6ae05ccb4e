//! CREATE, ALTER, DROP.

use dflow_common::{Diagnostic, Span, Spanned};

use super::{Builder, P, Rule, child, children, has};
use crate::ast::*;
use crate::error;

impl Builder<'_> {
    pub(super) fn create(&mut self, pair: &P) -> Option<StatementKind> {
        match pair.as_rule() {
            Rule::create_table => self.create_table(pair),
            Rule::create_view => self.create_view(pair),
            Rule::create_catalog => self.create_catalog(pair),
            Rule::create_database => self.create_database(pair),
            Rule::create_function => self.create_function(pair),
            Rule::create_model => self.create_model(pair),
            _ => self.create_materialized(pair),
        }
    }

    fn create_table(&mut self, pair: &P) -> Option<StatementKind> {
        let replace = has(pair, Rule::or_replace) || has(pair, Rule::replace_);
        let mode = if replace { CreateMode::Replace } else { CreateMode::Create };
        let name = self.name_in(pair);
        let elements = self.elements_in(pair);
        let distribution = child(pair, Rule::distributed).map(|d| self.distribution(&d));
        let partitioned_by = self.partitioned_by(pair);
        let options = self.with_options(pair);
        let like = child(pair, Rule::like).and_then(|l| self.like(&l));
        let query = self.as_query(pair);
        self.check_bare_names(&elements, has(pair, Rule::as_query));
        Some(StatementKind::CreateTable(Box::new(CreateTable {
            mode,
            temporary: has(pair, Rule::temporary),
            if_not_exists: has(pair, Rule::if_not_exists),
            name: name?,
            elements,
            comment: self.comment_in(pair),
            distribution,
            partitioned_by,
            options,
            like,
            query: query?,
        })))
    }

    fn create_view(&mut self, pair: &P) -> Option<StatementKind> {
        let name = self.name_in(pair);
        let mut columns = Vec::new();
        if let Some(list) = child(pair, Rule::view_columns) {
            self.trailing_comma(&list);
            for column in children(&list, Rule::view_column) {
                let comment = self.comment_in(&column);
                columns.extend(self.ident_in(&column).map(|name| ViewColumn { name, comment }));
            }
        }
        let query = self.as_query(pair)?;
        Some(StatementKind::CreateView(Box::new(CreateView {
            mode: if has(pair, Rule::or_replace) { CreateMode::Replace } else { CreateMode::Create },
            temporary: has(pair, Rule::temporary),
            if_not_exists: has(pair, Rule::if_not_exists),
            name: name?,
            columns,
            comment: self.comment_in(pair),
            query: query?,
        })))
    }

    fn create_catalog(&mut self, pair: &P) -> Option<StatementKind> {
        let (name, options) = (self.ident_in(pair), self.with_options(pair));
        Some(StatementKind::CreateCatalog(CreateCatalog {
            if_not_exists: has(pair, Rule::if_not_exists),
            name: name?,
            comment: self.comment_in(pair),
            options,
        }))
    }

    fn create_database(&mut self, pair: &P) -> Option<StatementKind> {
        let (name, options) = (self.name_in(pair), self.with_options(pair));
        Some(StatementKind::CreateDatabase(CreateDatabase {
            if_not_exists: has(pair, Rule::if_not_exists),
            name: name?,
            comment: self.comment_in(pair),
            options,
        }))
    }

    fn scope(&self, pair: &P) -> FunctionScope {
        match (has(pair, Rule::temporary), has(pair, Rule::system)) {
            (_, true) => FunctionScope::TemporarySystem,
            (true, false) => FunctionScope::Temporary,
            (false, false) => FunctionScope::Catalog,
        }
    }

    /// `LANGUAGE x`; the words of it are no names, so reserved ones are fine.
    fn language(&self, pair: &P) -> Option<Ident> {
        let ident = child(pair, Rule::language).and_then(|l| child(&l, Rule::ident))?;
        Some(Ident { value: ident.as_str().to_owned(), quoted: false, span: self.span(&ident) })
    }

    fn create_function(&mut self, pair: &P) -> Option<StatementKind> {
        let (name, options) = (self.name_in(pair), self.with_options(pair));
        let resources = children(pair, Rule::resource)
            .filter_map(|r| {
                let kind = if has(&r, Rule::artifact) { ResourceKind::Artifact } else { ResourceKind::Jar };
                self.string_in(&r).map(|path| Resource { kind, path })
            })
            .collect();
        Some(StatementKind::CreateFunction(CreateFunction {
            scope: self.scope(pair),
            if_not_exists: has(pair, Rule::if_not_exists),
            name: name?,
            identifier: self.string_in(pair)?,
            language: self.language(pair),
            resources,
            options,
        }))
    }

    fn create_model(&mut self, pair: &P) -> Option<StatementKind> {
        let name = self.name_in(pair);
        let input = child(pair, Rule::input).map(|p| self.elements_in(&p)).unwrap_or_default();
        let output = child(pair, Rule::output).map(|p| self.elements_in(&p)).unwrap_or_default();
        let options = self.with_options(pair);
        let query = self.as_query(pair);
        Some(StatementKind::CreateModel(Box::new(CreateModel {
            temporary: has(pair, Rule::temporary),
            if_not_exists: has(pair, Rule::if_not_exists),
            name: name?,
            input,
            output,
            comment: self.comment_in(pair),
            options,
            query: query?,
        })))
    }

    fn create_materialized(&mut self, pair: &P) -> Option<StatementKind> {
        let name = self.name_in(pair);
        let elements = self.elements_in(pair);
        let distribution = child(pair, Rule::distributed).map(|d| self.distribution(&d));
        let partitioned_by = self.partitioned_by(pair);
        let options = self.with_options(pair);
        let start_mode = child(pair, Rule::start_mode)
            .and_then(|m| child(&m, Rule::start_value))
            .map(|v| Spanned::new(v.as_str().trim_end().to_owned(), self.span(&v)));
        let freshness = child(pair, Rule::freshness).and_then(|f| child(&f, Rule::interval)).map(|i| self.expr(&i));
        let refresh_mode = child(pair, Rule::refresh_mode).and_then(|m| child(&m, Rule::ident)).map(|m| Ident {
            value: m.as_str().to_owned(),
            quoted: false,
            span: self.span(&m),
        });
        let query = self.as_query(pair)?;
        self.check_bare_names(&elements, true);
        Some(StatementKind::CreateMaterializedTable(Box::new(CreateMaterializedTable {
            or_alter: has(pair, Rule::or_alter),
            if_not_exists: has(pair, Rule::if_not_exists),
            name: name?,
            elements,
            comment: self.comment_in(pair),
            distribution,
            partitioned_by,
            options,
            start_mode,
            freshness: freshness.flatten(),
            refresh_mode,
            query: query?,
        })))
    }

    /// Names without a type only reorder the columns of a query, and then all items are such names.
    fn check_bare_names(&mut self, elements: &[TableElement], has_query: bool) {
        let bare = |e: &&TableElement| matches!(e, TableElement::Column(Column { kind: ColumnKind::Name, .. }));
        let named = elements.iter().filter(bare).count();
        if named == 0 || (has_query && named == elements.len()) {
            return;
        }
        for element in elements.iter().filter(bare) {
            let TableElement::Column(column) = element else { continue };
            let d = Diagnostic::error(error::SYNTAX, format!("the column `{}` has no type", column.name.value))
                .with_span(column.span, "expected a type");
            self.errors.push(match has_query {
                true => d.with_help(
                    "a list of names alone reorders the query's columns; it cannot be mixed with definitions",
                ),
                false => d.with_help(format!("write `{} STRING`, or another type", column.name)),
            });
        }
    }

    fn partitioned_by(&mut self, pair: &P) -> Vec<Ident> {
        child(pair, Rule::partitioned).map(|p| self.columns_in(&p)).unwrap_or_default()
    }

    /// `(column, …)`: at most one watermark and one key.
    fn elements_in(&mut self, pair: &P) -> Vec<TableElement> {
        let Some(list) = child(pair, Rule::elements) else { return Vec::new() };
        self.trailing_comma(&list);
        let mut elements = Vec::new();
        let (mut watermark, mut key): (Option<Span>, Option<Span>) = (None, None);
        for item in list.into_inner() {
            let Some(element) = self.element(&item) else { continue };
            let (first, what, span) = match &element {
                TableElement::Watermark(w) => (&mut watermark, "watermark", w.span),
                TableElement::PrimaryKey(k) => (&mut key, "primary key", k.span),
                TableElement::Column(Column { primary_key: Some(k), .. }) => (&mut key, "primary key", k.span),
                TableElement::Column(_) => {
                    elements.push(element);
                    continue;
                }
            };
            match *first {
                Some(other) => self.errors.push(
                    Diagnostic::error(error::DEFINED_TWICE, format!("a table has one {what}"))
                        .with_span(span, "the second")
                        .with_label(other, "the first"),
                ),
                None => *first = Some(span),
            }
            elements.push(element);
        }
        elements
    }

    fn element(&mut self, item: &P) -> Option<TableElement> {
        match item.as_rule() {
            Rule::watermark => self.watermark(item).map(TableElement::Watermark),
            Rule::table_key => self.primary_key(item, None).map(TableElement::PrimaryKey),
            Rule::computed | Rule::column | Rule::column_name => self.column(item).map(TableElement::Column),
            _ => None,
        }
    }

    fn column(&mut self, item: &P) -> Option<Column> {
        let name = self.ident_in(item);
        let span = self.span(item);
        let kind = match item.as_rule() {
            Rule::computed => child(item, Rule::expr).and_then(|e| self.expr(&e)).map(ColumnKind::Computed),
            Rule::column_name => Some(ColumnKind::Name),
            _ => {
                let ty = self.data_type(&child(item, Rule::data_type)?);
                Some(match child(item, Rule::metadata) {
                    Some(m) => {
                        ColumnKind::Metadata { ty, key: self.string_in(&m), is_virtual: has(&m, Rule::virtual_) }
                    }
                    None => ColumnKind::Physical(ty),
                })
            }
        };
        let name = name?;
        let primary_key = child(item, Rule::column_key).and_then(|k| self.primary_key(&k, Some(&name)));
        Some(Column { name, kind: kind?, primary_key, comment: self.comment_in(item), span })
    }

    fn watermark(&mut self, item: &P) -> Option<Watermark> {
        let column = child(item, Rule::path).map(|p| self.idents(&p)).unwrap_or_default();
        let expr = child(item, Rule::expr).and_then(|e| self.expr(&e));
        Some(Watermark { column, expr: expr?, span: self.span(item) })
    }

    /// A key at a column (`at`) or of the table. Flink has only PRIMARY KEY … NOT ENFORCED.
    fn primary_key(&mut self, item: &P, at: Option<&Ident>) -> Option<PrimaryKey> {
        let span = self.span(item);
        let name = child(item, Rule::constraint_name).and_then(|c| self.ident_in(&c));
        let columns = match at {
            Some(column) => vec![column.clone()],
            None => self.columns_in(item),
        };
        if has(item, Rule::kw_unique) {
            self.errors.push(
                Diagnostic::error(error::UNSUPPORTED_CONSTRAINT, "Flink SQL has no UNIQUE constraint")
                    .with_span(span, "not supported")
                    .with_help("declare the key as `PRIMARY KEY (…) NOT ENFORCED`, or leave it out"),
            );
            return None;
        }
        let enforced = child(item, Rule::enforced);
        if !enforced.as_ref().is_some_and(|e| has(e, Rule::kw_not)) {
            let (message, place) = match &enforced {
                Some(e) => ("a primary key cannot be ENFORCED", self.span(e)),
                None => ("NOT ENFORCED is missing after PRIMARY KEY", span),
            };
            self.errors.push(
                Diagnostic::error(error::NOT_ENFORCED_MISSING, message)
                    .with_span(place, "needs NOT ENFORCED")
                    .with_note("the key is a promise about the data; it is not checked")
                    .with_help(match at {
                        Some(_) => "write `PRIMARY KEY NOT ENFORCED`",
                        None => "write `PRIMARY KEY (…) NOT ENFORCED`",
                    }),
            );
        }
        Some(PrimaryKey { name, columns, span })
    }

    fn distribution(&mut self, pair: &P) -> Distribution {
        let kind = child(pair, Rule::hash_kind).map(|k| match has(&k, Rule::kw_range) {
            true => DistributionKind::Range,
            false => DistributionKind::Hash,
        });
        let integer = child(pair, Rule::buckets).and_then(|b| child(&b, Rule::integer));
        let buckets = integer.map(|i| {
            let n = i.as_str().parse::<u64>().ok().filter(|n| (1..=i32::MAX as u64).contains(n));
            n.unwrap_or_else(|| {
                self.errors.push(
                    Diagnostic::error(
                        error::TYPE_PARAMETER,
                        format!("the number of buckets lies between 1 and {}", i32::MAX),
                    )
                    .with_span(self.span(&i), "out of range"),
                );
                1
            })
        });
        Distribution { kind, columns: self.columns_in(pair), buckets, span: self.span(pair) }
    }

    fn like(&mut self, pair: &P) -> Option<Like> {
        let options = children(pair, Rule::like_option)
            .filter_map(|o| {
                let merge = child(&o, Rule::like_merge)?.into_inner().next()?.as_rule();
                let feature = child(&o, Rule::like_feature)?.into_inner().next()?.as_rule();
                Some(LikeOption {
                    merge: match merge {
                        Rule::kw_including => LikeMerge::Including,
                        Rule::kw_excluding => LikeMerge::Excluding,
                        _ => LikeMerge::Overwriting,
                    },
                    feature: match feature {
                        Rule::kw_all => LikeFeature::All,
                        Rule::kw_constraints => LikeFeature::Constraints,
                        Rule::kw_distribution => LikeFeature::Distribution,
                        Rule::kw_partitions => LikeFeature::Partitions,
                        Rule::kw_generated => LikeFeature::Generated,
                        Rule::kw_metadata => LikeFeature::Metadata,
                        Rule::kw_options => LikeFeature::Options,
                        _ => LikeFeature::Watermarks,
                    },
                    span: self.span(&o),
                })
            })
            .collect();
        Some(Like { source: self.name_in(pair)?, options, span: self.span(pair) })
    }

    pub(super) fn alter(&mut self, pair: &P) -> Option<StatementKind> {
        let action = pair.clone().into_inner().last()?;
        let if_exists = has(pair, Rule::if_exists);
        Some(match pair.as_rule() {
            Rule::alter_catalog => {
                let name = self.ident_in(pair);
                let action = match action.as_rule() {
                    Rule::comment => AlterCatalogAction::Comment(self.string_in(&action)?),
                    Rule::reset_options => AlterCatalogAction::ResetOptions(self.keys(&action)),
                    _ => AlterCatalogAction::SetOptions(self.options_under(&action, Rule::set_options)?),
                };
                StatementKind::AlterCatalog(AlterCatalog { name: name?, action })
            }
            Rule::alter_function => {
                let name = self.name_in(pair);
                StatementKind::AlterFunction(AlterFunction {
                    scope: self.scope(pair),
                    if_exists,
                    name: name?,
                    identifier: self.string_in(pair)?,
                    language: self.language(pair),
                })
            }
            Rule::alter_database => {
                let (name, options) = (self.name_in(pair), self.options_under(&action, Rule::set_options));
                StatementKind::AlterDatabase(AlterDatabase { name: name?, options: options? })
            }
            Rule::alter_view => {
                let name = self.name_in(pair);
                let action = match action.as_rule() {
                    Rule::rename_to => self.name_in(&action).map(AlterViewAction::Rename),
                    _ => self.as_query(pair)?.map(AlterViewAction::Query),
                };
                StatementKind::AlterView(Box::new(AlterView { name: name?, action: action? }))
            }
            Rule::alter_model => {
                let name = self.name_in(pair);
                let action = match action.as_rule() {
                    Rule::rename_to => self.name_in(&action).map(AlterModelAction::Rename),
                    Rule::reset_options => Some(AlterModelAction::ResetOptions(self.keys(&action))),
                    _ => self.options_under(&action, Rule::set_options).map(AlterModelAction::SetOptions),
                };
                StatementKind::AlterModel(AlterModel { if_exists, name: name?, action: action? })
            }
            Rule::alter_materialized => {
                let name = self.name_in(pair);
                let action = match action.as_rule() {
                    Rule::suspend => Some(AlterMaterializedTableAction::Suspend),
                    Rule::resume => Some(AlterMaterializedTableAction::Resume(self.with_options(&action))),
                    Rule::refresh => {
                        let partition = child(&action, Rule::partition).map(|p| self.partition(&p));
                        Some(AlterMaterializedTableAction::Refresh(partition))
                    }
                    Rule::as_query => self.as_query(pair)?.map(AlterMaterializedTableAction::Query),
                    _ => self.alter_action(&action).map(AlterMaterializedTableAction::Table),
                };
                StatementKind::AlterMaterializedTable(Box::new(AlterMaterializedTable { name: name?, action: action? }))
            }
            _ => {
                let (name, action) = (self.name_in(pair), self.alter_action(&action));
                StatementKind::AlterTable(Box::new(AlterTable { if_exists, name: name?, action: action? }))
            }
        })
    }

    fn keys(&mut self, action: &P) -> Vec<Text> {
        let Some(list) = child(action, Rule::keys) else { return Vec::new() };
        self.trailing_comma(&list);
        children(&list, Rule::string).map(|s| self.string(&s)).collect()
    }

    fn alter_action(&mut self, action: &P) -> Option<AlterTableAction> {
        Some(match action.as_rule() {
            Rule::set_options => AlterTableAction::SetOptions(self.options_under(action, Rule::set_options)?),
            Rule::reset_options => AlterTableAction::ResetOptions(self.keys(action)),
            Rule::rename_to => AlterTableAction::RenameTable(self.name_in(action)?),
            Rule::rename_column => {
                let from = child(action, Rule::path).map(|p| self.idents(&p))?;
                AlterTableAction::RenameColumn { from, to: self.ident_in(action)? }
            }
            Rule::add_partitions => AlterTableAction::AddPartitions {
                if_not_exists: has(action, Rule::if_not_exists),
                partitions: children(action, Rule::add_partition)
                    .filter_map(|p| Some((self.partition(&child(&p, Rule::partition)?), self.with_options(&p))))
                    .collect(),
            },
            Rule::add => AlterTableAction::Add(self.alter_elements(action)),
            Rule::modify => AlterTableAction::Modify(self.alter_elements(action)),
            Rule::drop_partitions => AlterTableAction::DropPartitions {
                if_exists: has(action, Rule::if_exists),
                partitions: children(action, Rule::partition).map(|p| self.partition(&p)).collect(),
            },
            Rule::drop_key => AlterTableAction::DropPrimaryKey,
            Rule::drop_constraint => AlterTableAction::DropConstraint(self.ident_in(action)?),
            Rule::drop_watermark => AlterTableAction::DropWatermark,
            Rule::drop_distribution => AlterTableAction::DropDistribution,
            _ => {
                self.trailing_comma(action);
                AlterTableAction::DropColumns(children(action, Rule::path).map(|p| self.idents(&p)).collect())
            }
        })
    }

    fn alter_elements(&mut self, action: &P) -> Vec<AlterElement> {
        let Some(list) = child(action, Rule::alter_elements) else { return Vec::new() };
        self.trailing_comma(&list);
        list.into_inner().filter_map(|item| self.alter_element(&item)).collect()
    }

    fn alter_element(&mut self, item: &P) -> Option<AlterElement> {
        match item.as_rule() {
            Rule::watermark => self.watermark(item).map(AlterElement::Watermark),
            Rule::table_key => self.primary_key(item, None).map(AlterElement::PrimaryKey),
            Rule::distribution => Some(AlterElement::Distribution(self.distribution(item))),
            Rule::alter_column => {
                let column = item.clone().into_inner().next().and_then(|c| self.column(&c));
                let position = match child(item, Rule::after) {
                    Some(after) => self.ident_in(&after).map(ColumnPosition::After),
                    None => has(item, Rule::first).then_some(ColumnPosition::First),
                };
                Some(AlterElement::Column { column: Box::new(column?), position })
            }
            _ => None,
        }
    }

    pub(super) fn drop(&mut self, pair: &P) -> Option<StatementKind> {
        let kind = object_kind(&child(pair, Rule::object_kind)?);
        let system = child(pair, Rule::system);
        if let Some(word) = system.as_ref().filter(|_| kind != ObjectKind::Function) {
            self.errors.push(
                Diagnostic::error(error::SYNTAX, "only functions are dropped as SYSTEM")
                    .with_span(self.span(word), "unexpected"),
            );
        }
        Some(StatementKind::Drop(Drop {
            kind,
            temporary: has(pair, Rule::temporary),
            system: system.is_some(),
            if_exists: has(pair, Rule::if_exists),
            name: self.name_in(pair)?,
            cascade: has(pair, Rule::cascade),
        }))
    }
}

/// The kind that the keywords of a pair name.
pub(super) fn object_kind(pair: &P) -> ObjectKind {
    if has(pair, Rule::kw_materialized) {
        ObjectKind::MaterializedTable
    } else if has(pair, Rule::kw_view) {
        ObjectKind::View
    } else if has(pair, Rule::kw_catalog) {
        ObjectKind::Catalog
    } else if has(pair, Rule::kw_database) {
        ObjectKind::Database
    } else if has(pair, Rule::kw_function) {
        ObjectKind::Function
    } else if has(pair, Rule::kw_model) {
        ObjectKind::Model
    } else {
        ObjectKind::Table
    }
}
