/// A table's name, with the schema it is in.
#[derive(Debug, Clone)]
pub(crate) struct TableName {
    pub(crate) schema: Option<String>,
    pub(crate) table: String,
}

impl TableName {
    pub(crate) fn quoted(&self) -> String {
        let table = quoted(&self.table);
        self.schema.as_deref().map_or_else(|| table.clone(), |schema| format!("{}.{table}", quoted(schema)))
    }
}

/// Any name is a name between quotes, if those that it contains are doubled.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The names, quoted, with commas.
pub(crate) fn list(names: &[String]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}
