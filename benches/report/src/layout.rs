//! What becomes a row and what a column.

use crate::numbers::{case_name, part};
use crate::recording::Recording;

/// With more peers than this they become the rows.
const COLUMNS: usize = 8;

pub(crate) struct Row {
    /// What rows that belong together have in common.
    pub(crate) panel: String,
    pub(crate) name: String,
    pub(crate) what: What,
}

pub(crate) enum What {
    Case(Vec<String>),
    /// The cases that begin so.
    Peer(String, Vec<String>),
}

pub(crate) struct Layout {
    pub(crate) rows: Vec<Row>,
    /// Peers, or what the cases of one panel end with.
    pub(crate) series: Vec<String>,
}

impl Row {
    pub(crate) fn full_name(&self) -> String {
        if self.panel.is_empty() { self.name.clone() } else { format!("{}, {}", self.panel, self.name) }
    }
}

impl Layout {
    /// Usually cases are rows and peers columns; where there are many peers, it is the other way round.
    pub(crate) fn of(recording: &Recording) -> Self {
        let peers = recording.peers();
        if peers.len() <= COLUMNS { by_case(recording, &peers) } else { by_peer(recording, &peers) }
    }

    pub(crate) fn samples<'a>(
        &self,
        recording: &'a Recording,
        row: &Row,
        series: usize,
    ) -> Option<&'a [f64]> {
        let (case, peer) = self.cell(row, series);
        recording.samples(&case, peer)
    }

    /// Case and peer.
    pub(crate) fn cell<'a>(&'a self, row: &'a Row, series: usize) -> (Vec<String>, &'a str) {
        let series = &self.series[series];
        match &row.what {
            What::Case(case) => (case.clone(), series),
            What::Peer(peer, begin) => {
                let mut case = begin.clone();
                case.push(series.clone());
                (case, peer)
            }
        }
    }
}

fn by_case(recording: &Recording, peers: &[&str]) -> Layout {
    let deep = recording.cases().iter().all(|case| case.len() > 1);
    let row = |case: &[String]| {
        let (panel, name) = case.split_at(usize::from(deep));
        Row { panel: case_name(panel), name: case_name(name), what: What::Case(case.to_vec()) }
    };
    Layout {
        rows: recording.cases().into_iter().map(row).collect(),
        series: peers.iter().map(|&peer| peer.to_owned()).collect(),
    }
}

fn by_peer(recording: &Recording, peers: &[&str]) -> Layout {
    let (mut begins, mut series) = (Vec::new(), Vec::new());
    for (last, begin) in recording.cases().into_iter().filter_map(<[String]>::split_last) {
        if !begins.contains(&begin) {
            begins.push(begin);
        }
        if !series.contains(last) {
            series.push(last.clone());
        }
    }
    let mut rows = Vec::new();
    for begin in begins {
        let has = |peer: &&&str| {
            recording.cells.iter().any(|cell| cell.peer == **peer && cell.case.starts_with(begin))
        };
        rows.extend(peers.iter().filter(has).map(|peer| Row {
            panel: case_name(begin),
            name: part(peer),
            what: What::Peer((*peer).to_owned(), begin.to_vec()),
        }));
    }
    Layout { rows, series }
}
