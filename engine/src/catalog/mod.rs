//! The catalog of a session: catalogs, databases, tables, views.
//!
//! ```text
//! default_catalog ── default_database ── orders   TABLE  (temporary ones hide permanent ones of the same name)
//!                 └─ sales            ── totals   VIEW
//! ```
//! # Input and output
//! In: CREATE, DROP, USE and ALTER statements. Out: definitions by name. Nothing here touches a connector: a table
//! that is never read or written is never opened.
//!
//! # Invariants
//! Names are case-sensitive and kept as written. A name of one part is looked up in the current database, of two parts
//! in the current catalog. Everything lives in memory and ends with the session.

mod show;
mod table;

use std::borrow::Cow;
use std::sync::Arc;

use dflow_common::{Diagnostic, Span};
use dflow_dsl::ast::{Ident, ObjectName};
use indexmap::IndexMap;

use crate::error::{self, at, did_you_mean};

pub use show::Rows;
pub(crate) use show::{describe, show_create};
pub(crate) use table::arrow_schema as table_schema;
pub use table::{Column, ColumnSource, Table, View, Watermark};

/// The catalog a script starts in.
pub const DEFAULT_CATALOG: &str = "default_catalog";
/// The database a script starts in.
pub const DEFAULT_DATABASE: &str = "default_database";

type Result<T> = std::result::Result<T, Box<Diagnostic>>;

/// A full name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    /// The catalog.
    pub catalog: String,
    /// The database.
    pub database: String,
    /// The object.
    pub name: String,
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.catalog, self.database, self.name)
    }
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub enum Object {
    /// A table.
    Table(Arc<Table>),
    /// A view.
    View(Arc<View>),
}

impl Object {
    /// Its full name.
    pub fn id(&self) -> &ObjectId {
        match self {
            Object::Table(t) => &t.id,
            Object::View(v) => &v.id,
        }
    }

    /// Whether it lives in the session only.
    pub fn temporary(&self) -> bool {
        match self {
            Object::Table(t) => t.temporary,
            Object::View(v) => v.temporary,
        }
    }

    /// `table` or `view`.
    pub fn kind(&self) -> &'static str {
        match self {
            Object::Table(_) => "table",
            Object::View(_) => "view",
        }
    }

    /// Where it was created.
    pub fn span(&self) -> Span {
        match self {
            Object::Table(t) => t.span,
            Object::View(v) => v.span,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Database {
    permanent: IndexMap<String, Object>,
}

/// What to do when the name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfExists {
    Error,
    Keep,
    Replace,
}

/// All catalogs of a session. See the module.
#[derive(Clone, Debug)]
pub struct Catalog {
    catalogs: IndexMap<String, IndexMap<String, Database>>,
    temporary: IndexMap<ObjectId, Object>,
    current_catalog: String,
    current_database: String,
}

impl Default for Catalog {
    fn default() -> Self {
        let databases = IndexMap::from([(DEFAULT_DATABASE.to_owned(), Database::default())]);
        Self {
            catalogs: IndexMap::from([(DEFAULT_CATALOG.to_owned(), databases)]),
            temporary: IndexMap::new(),
            current_catalog: DEFAULT_CATALOG.into(),
            current_database: DEFAULT_DATABASE.into(),
        }
    }
}

impl Catalog {
    /// One catalog with one empty database.
    pub fn new() -> Self {
        Self::default()
    }

    /// The catalog names of one part are looked up in.
    pub fn current_catalog(&self) -> &str {
        &self.current_catalog
    }

    /// The database names of one part are looked up in.
    pub fn current_database(&self) -> &str {
        &self.current_database
    }

    /// Where names of one and of two parts are looked up.
    pub(crate) fn namespace(&self) -> (String, String) {
        (self.current_catalog.clone(), self.current_database.clone())
    }

    /// The catalog as it is for names that were written in `namespace`.
    pub(crate) fn seen_from(&self, namespace: &(String, String)) -> Cow<'_, Catalog> {
        if self.current_catalog == namespace.0 && self.current_database == namespace.1 {
            return Cow::Borrowed(self);
        }
        let mut catalog = self.clone();
        (catalog.current_catalog, catalog.current_database) = namespace.clone();
        Cow::Owned(catalog)
    }

    /// The full name of an object's name as written.
    ///
    /// # Errors
    /// More than three parts.
    pub fn resolve(&self, name: &ObjectName) -> Result<ObjectId> {
        let parts: Vec<&str> = name.parts.iter().map(|p| p.value.as_str()).collect();
        let (catalog, database, name) = match parts.as_slice() {
            [n] => (self.current_catalog.as_str(), self.current_database.as_str(), *n),
            [d, n] => (self.current_catalog.as_str(), *d, *n),
            [c, d, n] => (*c, *d, *n),
            _ => {
                return Err(Box::new(
                    at(error::BAD_NAME, name.span, format!("`{name}` has too many parts"), "at most three parts")
                        .with_help("write [[catalog.]database.]name"),
                ));
            }
        };
        Ok(ObjectId { catalog: catalog.into(), database: database.into(), name: name.into() })
    }

    /// The table or view of a full name; a temporary one hides a permanent one.
    pub fn find(&self, id: &ObjectId) -> Option<&Object> {
        self.temporary.get(id).or_else(|| self.catalogs.get(&id.catalog)?.get(&id.database)?.permanent.get(&id.name))
    }

    /// The table or view of a name as written.
    ///
    /// # Errors
    /// No such catalog, database or object, with the nearest name there is.
    pub fn get(&self, name: &ObjectName) -> Result<&Object> {
        let id = self.resolve(name)?;
        match self.find(&id) {
            Some(object) => Ok(object),
            None => {
                self.database(&id, name)?;
                let message = format!("table or view `{name}` not found");
                let d = at(error::TABLE_NOT_FOUND, name.span, message, "not found");
                let names: Vec<_> = self.names(&id.catalog, &id.database);
                let d = did_you_mean(d, &id.name, names.iter().map(String::as_str));
                Err(Box::new(match names.is_empty() && d.help.is_empty() {
                    true => d.with_note(format!("database `{}` has no tables", id.database)),
                    false => d,
                }))
            }
        }
    }

    /// Adds a table or view. `span` points at its name.
    ///
    /// # Errors
    /// No such database, or the name is taken.
    pub(crate) fn create(&mut self, object: Object, if_exists: IfExists, name: &ObjectName) -> Result<()> {
        let id = object.id().clone();
        self.database(&id, name)?;
        let old = if object.temporary() {
            self.temporary.get(&id)
        } else {
            self.catalogs.get(&id.catalog).and_then(|c| c.get(&id.database)).and_then(|d| d.permanent.get(&id.name))
        };
        if let Some(old) = old {
            match if_exists {
                IfExists::Keep => return Ok(()),
                IfExists::Replace if old.kind() == object.kind() => {}
                _ => {
                    let message = format!("{} `{}` exists already", old.kind(), id.name);
                    return Err(Box::new(
                        at(error::ALREADY_EXISTS, name.span, message, "name is taken")
                            .with_label(old.span(), "first defined here")
                            .with_help("write IF NOT EXISTS to keep the first one, or drop it"),
                    ));
                }
            }
        }
        if object.temporary() {
            self.temporary.insert(id, object);
        } else if let Some(d) = self.catalogs.get_mut(&id.catalog).and_then(|c| c.get_mut(&id.database)) {
            d.permanent.insert(id.name, object);
        }
        Ok(())
    }

    /// The permanent table or view that ALTER is about; `None` when there is none and `if_exists`. Temporary ones cannot
    /// be altered, as in Flink.
    ///
    /// # Errors
    /// There is none, it is temporary, or of the other kind.
    pub(crate) fn to_alter(&self, name: &ObjectName, kind: &'static str, if_exists: bool) -> Result<Option<&Object>> {
        match self.get(name) {
            Ok(object) if object.temporary() => {
                let message = format!("`{name}` is a temporary {}: ALTER is for permanent ones", object.kind());
                match if_exists {
                    true => Ok(None),
                    false => Err(Box::new(
                        at(error::WRONG_KIND, name.span, message, "temporary")
                            .with_label(object.span(), "defined here")
                            .with_help("drop it and create it anew"),
                    )),
                }
            }
            Ok(object) if object.kind() != kind => {
                let message = format!("`{name}` is a {}, not a {kind}", object.kind());
                Err(Box::new(
                    at(error::WRONG_KIND, name.span, message, format!("a {}", object.kind()))
                        .with_label(object.span(), "defined here")
                        .with_help(format!("write ALTER {} {name}", object.kind().to_uppercase())),
                ))
            }
            Ok(object) => Ok(Some(object)),
            Err(_) if if_exists => Ok(None),
            Err(d) => Err(d),
        }
    }

    /// All tables, permanent and temporary ones.
    pub(crate) fn tables(&self) -> Vec<Arc<Table>> {
        let permanent = self.catalogs.values().flat_map(IndexMap::values).flat_map(|d| d.permanent.values());
        let tables = permanent.chain(self.temporary.values()).filter_map(|o| match o {
            Object::Table(t) => Some(t.clone()),
            Object::View(_) => None,
        });
        tables.collect()
    }

    /// Puts a table or view in the place of the one of its name.
    pub(crate) fn replace(&mut self, object: Object) {
        let id = object.id().clone();
        if object.temporary() {
            self.temporary.insert(id, object);
        } else if let Some(d) = self.catalogs.get_mut(&id.catalog).and_then(|c| c.get_mut(&id.database)) {
            d.permanent.insert(id.name, object);
        }
    }

    /// Gives a permanent table or view another name in its database.
    ///
    /// # Errors
    /// The name is taken, or in another database.
    pub(crate) fn rename(&mut self, id: &ObjectId, new: &ObjectName) -> Result<()> {
        let name = new.object().value.clone();
        let wanted = match new.parts.len() {
            1 => ObjectId { name, ..id.clone() },
            _ => self.resolve(new)?,
        };
        if (&wanted.catalog, &wanted.database) != (&id.catalog, &id.database) {
            let message = format!("`{}` stays in database `{}`", id.name, id.database);
            return Err(Box::new(at(error::BAD_NAME, new.span, message, "another database")));
        }
        if let Some(old) = self.find(&wanted) {
            let message = format!("{} `{}` exists already", old.kind(), wanted.name);
            return Err(Box::new(
                at(error::ALREADY_EXISTS, new.span, message, "name is taken").with_label(old.span(), "defined here"),
            ));
        }
        let database = self.catalogs.get_mut(&id.catalog).and_then(|c| c.get_mut(&id.database));
        if let Some(database) = database
            && let Some(object) = database.permanent.shift_remove(&id.name)
        {
            let renamed = match object {
                Object::Table(t) => Object::Table(Arc::new(Table { id: wanted.clone(), ..(*t).clone() })),
                Object::View(v) => Object::View(Arc::new(View { id: wanted.clone(), ..(*v).clone() })),
            };
            database.permanent.insert(wanted.name, renamed);
        }
        Ok(())
    }

    /// Drops a table or view.
    ///
    /// # Errors
    /// It does not exist (unless `if_exists`), or is of the other kind.
    pub(crate) fn drop_object(
        &mut self,
        name: &ObjectName,
        kind: &'static str,
        temporary: bool,
        if_exists: bool,
    ) -> Result<()> {
        let id = self.resolve(name)?;
        let found = match (temporary, self.find(&id)) {
            (true, Some(o)) if !o.temporary() => None,
            (false, Some(o)) if o.temporary() => {
                let message = format!("`{}` is a temporary {}", id.name, o.kind());
                return Err(Box::new(
                    at(error::WRONG_KIND, name.span, message, "temporary")
                        .with_help(format!("write DROP TEMPORARY {} {name}", kind.to_uppercase())),
                ));
            }
            (_, found) => found,
        };
        match found {
            Some(object) if object.kind() != kind => {
                let message = format!("`{}` is a {}, not a {kind}", id.name, object.kind());
                Err(Box::new(
                    at(error::WRONG_KIND, name.span, message, format!("a {}", object.kind()))
                        .with_label(object.span(), "defined here")
                        .with_help(format!("write DROP {} {name}", object.kind().to_uppercase())),
                ))
            }
            Some(_) => {
                if temporary {
                    self.temporary.shift_remove(&id);
                } else if let Some(d) = self.catalogs.get_mut(&id.catalog).and_then(|c| c.get_mut(&id.database)) {
                    d.permanent.shift_remove(&id.name);
                }
                Ok(())
            }
            None if if_exists => Ok(()),
            None => {
                let d = at(error::TABLE_NOT_FOUND, name.span, format!("{kind} `{name}` not found"), "not found");
                let names = self.names(&id.catalog, &id.database);
                Err(Box::new(did_you_mean(d, &id.name, names.iter().map(String::as_str))))
            }
        }
    }

    /// Adds a catalog with one empty database called `default`.
    pub(crate) fn create_catalog(&mut self, name: &Ident, if_not_exists: bool) -> Result<()> {
        if self.catalogs.contains_key(&name.value) {
            return taken("catalog", name, if_not_exists);
        }
        self.catalogs.insert(name.value.clone(), IndexMap::from([("default".to_owned(), Database::default())]));
        Ok(())
    }

    /// Adds an empty database.
    pub(crate) fn create_database(&mut self, name: &ObjectName, if_not_exists: bool) -> Result<()> {
        let (catalog, database) = self.database_name(name)?;
        let current = self.catalog_mut(&catalog, name)?;
        if current.contains_key(database.value.as_str()) {
            return taken("database", &database, if_not_exists);
        }
        current.insert(database.value, Database::default());
        Ok(())
    }

    /// Drops a database, with its tables when `cascade`.
    pub(crate) fn drop_database(&mut self, name: &ObjectName, if_exists: bool, cascade: bool) -> Result<()> {
        let (catalog, database) = self.database_name(name)?;
        let in_use = catalog == self.current_catalog && database.value == self.current_database;
        let databases = self.catalog_mut(&catalog, name)?;
        match databases.get(&database.value) {
            None if if_exists => return Ok(()),
            None => {
                let message = format!("database `{}` not found", database.value);
                let d = at(error::DATABASE_NOT_FOUND, database.span, message, "not found");
                return Err(Box::new(did_you_mean(d, &database.value, databases.keys().map(String::as_str))));
            }
            Some(_) if in_use => {
                let message = format!("database `{}` is in use", database.value);
                return Err(Box::new(
                    at(error::BAD_NAME, database.span, message, "the current database")
                        .with_help("USE another database before dropping this one"),
                ));
            }
            Some(d) if !d.permanent.is_empty() && !cascade => {
                let message = format!("database `{}` has {} tables or views", database.value, d.permanent.len());
                return Err(Box::new(
                    at(error::NOT_EMPTY, database.span, message, "not empty")
                        .with_help("write CASCADE to drop them too"),
                ));
            }
            Some(_) => {}
        }
        databases.shift_remove(&database.value);
        Ok(())
    }

    /// Drops a catalog.
    pub(crate) fn drop_catalog(&mut self, name: &Ident, if_exists: bool) -> Result<()> {
        if name.value == self.current_catalog {
            let message = format!("catalog `{}` is in use", name.value);
            return Err(Box::new(
                at(error::BAD_NAME, name.span, message, "the current catalog")
                    .with_help("USE CATALOG another one before dropping this one"),
            ));
        }
        if self.catalogs.shift_remove(&name.value).is_none() && !if_exists {
            return Err(Box::new(self.no_catalog(&name.value, name.span)));
        }
        Ok(())
    }

    /// `USE CATALOG c`
    pub(crate) fn use_catalog(&mut self, name: &Ident) -> Result<()> {
        let Some(databases) = self.catalogs.get(&name.value) else {
            return Err(Box::new(self.no_catalog(&name.value, name.span)));
        };
        self.current_database = databases.keys().next().cloned().unwrap_or_default();
        self.current_catalog.clone_from(&name.value);
        Ok(())
    }

    /// `USE [c.]d`
    pub(crate) fn use_database(&mut self, name: &ObjectName) -> Result<()> {
        let (catalog, database) = self.database_name(name)?;
        let databases = self.catalog_mut(&catalog, name)?;
        if !databases.contains_key(&database.value) {
            let message = format!("database `{}` not found", database.value);
            let d = at(error::DATABASE_NOT_FOUND, database.span, message, "not found");
            return Err(Box::new(did_you_mean(d, &database.value, databases.keys().map(String::as_str))));
        }
        (self.current_catalog, self.current_database) = (catalog, database.value);
        Ok(())
    }

    /// Names of the tables and views of a database, temporary ones included, sorted.
    pub(crate) fn names(&self, catalog: &str, database: &str) -> Vec<String> {
        self.objects(catalog, database).map(|o| o.id().name.clone()).collect()
    }

    /// The tables and views of a database, by name, temporary ones in the place of those they hide.
    pub(crate) fn objects(&self, catalog: &str, database: &str) -> impl Iterator<Item = &Object> {
        let permanent = self.catalogs.get(catalog).and_then(|c| c.get(database)).into_iter();
        let mut all: std::collections::BTreeMap<&str, &Object> =
            permanent.flat_map(|d| d.permanent.iter()).map(|(n, o)| (n.as_str(), o)).collect();
        for (id, object) in &self.temporary {
            if id.catalog == catalog && id.database == database {
                all.insert(&id.name, object);
            }
        }
        all.into_values()
    }

    /// Names of all catalogs.
    pub(crate) fn catalog_names(&self) -> impl Iterator<Item = &str> {
        self.catalogs.keys().map(String::as_str)
    }

    /// Names of the databases of a catalog.
    pub(crate) fn database_names(&self, catalog: &str) -> impl Iterator<Item = &str> {
        self.catalogs.get(catalog).into_iter().flat_map(|c| c.keys().map(String::as_str))
    }

    /// Checks that the database of `id` exists.
    fn database(&self, id: &ObjectId, name: &ObjectName) -> Result<()> {
        let Some(databases) = self.catalogs.get(&id.catalog) else {
            return Err(Box::new(self.no_catalog(&id.catalog, name.span)));
        };
        if databases.contains_key(&id.database) {
            return Ok(());
        }
        let message = format!("database `{}` not found in catalog `{}`", id.database, id.catalog);
        let d = at(error::DATABASE_NOT_FOUND, name.span, message, "not found");
        Err(Box::new(did_you_mean(d, &id.database, databases.keys().map(String::as_str))))
    }

    /// Catalog and database of `[c.]d`.
    pub(crate) fn database_name(&self, name: &ObjectName) -> Result<(String, Ident)> {
        match name.parts.as_slice() {
            [d] => Ok((self.current_catalog.clone(), d.clone())),
            [c, d] => Ok((c.value.clone(), d.clone())),
            _ => Err(Box::new(
                at(error::BAD_NAME, name.span, format!("`{name}` has too many parts"), "at most two parts")
                    .with_help("write [catalog.]database"),
            )),
        }
    }

    fn catalog_mut(&mut self, catalog: &str, name: &ObjectName) -> Result<&mut IndexMap<String, Database>> {
        if !self.catalogs.contains_key(catalog) {
            return Err(Box::new(self.no_catalog(catalog, name.span)));
        }
        Ok(self.catalogs.get_mut(catalog).expect("it was there a line ago"))
    }

    fn no_catalog(&self, name: &str, span: Span) -> Diagnostic {
        let d = at(error::CATALOG_NOT_FOUND, span, format!("catalog `{name}` not found"), "not found");
        did_you_mean(d, name, self.catalog_names())
    }
}

fn taken(kind: &str, name: &Ident, if_not_exists: bool) -> Result<()> {
    if if_not_exists {
        return Ok(());
    }
    let message = format!("{kind} `{}` exists already", name.value);
    Err(Box::new(
        at(error::ALREADY_EXISTS, name.span, message, "name is taken").with_help("write IF NOT EXISTS to keep it"),
    ))
}
