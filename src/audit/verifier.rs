//! Reads the rows of the log in order and finds the first that is not as it was written.

use std::collections::BTreeMap;
use std::fmt;

use subtle::ConstantTimeEq;

use super::{AuditKey, Head, Row, SealedHead, mac};

/// Checks every row, in the order of chain and seq, and keeps the first break.
///
/// A removed end is found only where the end is known: give the database's heads to [`Verifier::sealed`], and those of
/// an anchor to [`Verifier::expect_heads`] after that.
pub struct Verifier<'k> {
    key: &'k AuditKey,
    /// What each chain begins after, where the database has sealed heads.
    begins: BTreeMap<u32, Head>,
    /// The head of the chain that is being read.
    chain: Option<Head>,
    /// Heads that must be reached, by chain and seq.
    expected: BTreeMap<(u32, u64), [u8; 32]>,
    /// The heads of the chains that are done.
    heads: Vec<Head>,
    /// A row whose mac does not fit; the next row decides why.
    pending: Option<(Row, [u8; 32])>,
    found: Option<Break>,
    rows: u64,
}

/// The first place where the log is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Break {
    /// The chain.
    pub chain: u32,
    /// The seq of the row at fault; for a gap the first one missing.
    pub seq: u64,
    /// What happened to it.
    pub kind: BreakKind,
}

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakKind {
    /// Rows from the named one up to, but not including, this seq are missing.
    Gap {
        /// The first seq that exists again.
        until: u64,
    },
    /// The row was changed after it was written.
    Changed,
    /// The row and the next one changed places.
    Swapped,
    /// The row exists twice, or follows one that it was written before.
    Repeated,
    /// The row was not written by this database: inserted, replaced, or chained with another key.
    Foreign,
    /// The end of the chain is missing: rows up to this seq were once there.
    Cut {
        /// The last seq that is known to have been written.
        until: u64,
    },
    /// The sealed head of the chain was changed.
    Unsealed,
    /// The sealed head of the chain is missing.
    Headless,
}

impl<'k> Verifier<'k> {
    /// A verifier for a log that was chained with this key.
    pub fn new(key: &'k AuditKey) -> Verifier<'k> {
        Verifier {
            key,
            begins: BTreeMap::new(),
            chain: None,
            expected: BTreeMap::new(),
            heads: Vec::new(),
            pending: None,
            found: None,
            rows: 0,
        }
    }

    /// The heads that the database keeps beside the rows. Each chain begins after what was pruned of it, reaches its
    /// head, and none of them is missing.
    #[must_use]
    pub fn sealed(mut self, heads: &[SealedHead]) -> Verifier<'k> {
        for head in heads {
            if !head.is_sealed(self.key) {
                self.break_at(head.chain, head.seq, BreakKind::Unsealed);
                continue;
            }
            self.begins.insert(head.chain, head.pruned());
            if head.seq > head.pruned_seq {
                self.expect(head.last());
            }
        }
        // Every head says how many there are; without any of them there is at least the first.
        let chains = heads.iter().map(|head| head.chains).max().unwrap_or(1);
        for chain in 0..chains {
            if heads.iter().all(|head| head.chain != chain) {
                self.break_at(chain, 0, BreakKind::Headless);
            }
        }
        self
    }

    /// Heads that the log must contain, for example those of an anchor. One that was pruned since cannot be compared.
    #[must_use]
    pub fn expect_heads(mut self, heads: impl IntoIterator<Item = Head>) -> Verifier<'k> {
        for head in heads.into_iter().filter(|head| head.seq > 0) {
            match self.begins.get(&head.chain) {
                Some(begin) if head.seq < begin.seq => {}
                Some(begin) if head.seq == begin.seq => {
                    if !same(&head.mac, &begin.mac) {
                        self.break_at(head.chain, head.seq, BreakKind::Foreign);
                    }
                }
                _ => self.expect(head),
            }
        }
        self
    }

    /// The database's heads, read again after all rows: a row beyond them was not written by an operation.
    #[must_use]
    pub fn ends_at(mut self, heads: &[SealedHead]) -> Verifier<'k> {
        if self.found.is_none() {
            self.settle_pending(None);
        }
        self.close_chain();
        for head in heads {
            let beyond = self.heads.iter().any(|end| end.chain == head.chain && end.seq > head.seq);
            if !head.is_sealed(self.key) {
                self.break_at(head.chain, head.seq, BreakKind::Unsealed);
            } else if beyond {
                self.break_at(head.chain, head.seq.saturating_add(1), BreakKind::Foreign);
            }
        }
        self
    }

    /// Checks the next row. The rows after the first break are only counted.
    pub fn check_row(&mut self, row: Row) {
        self.rows = self.rows.saturating_add(1);
        if self.found.is_some() {
            return;
        }
        if self.settle_pending(Some(&row)) {
            return;
        }
        let head = match &self.chain {
            Some(head) if head.chain == row.chain => *head,
            Some(head) if row.chain < head.chain => return self.fail(&row, BreakKind::Repeated),
            _ => {
                self.close_chain();
                match self.begins.get(&row.chain) {
                    Some(begin) => *begin,
                    None if self.begins.is_empty() => Head::empty(row.chain),
                    None => return self.fail(&row, BreakKind::Headless),
                }
            }
        };
        let wanted = head.seq.saturating_add(1);
        self.chain = Some(head);
        if row.seq < wanted {
            return self.fail(&row, BreakKind::Repeated);
        }
        if row.seq > wanted {
            self.found = Some(Break { chain: row.chain, seq: wanted, kind: BreakKind::Gap { until: row.seq } });
            return;
        }
        if !self.fits(&row, &head.mac, row.seq) {
            self.pending = Some((row, head.mac));
            return;
        }
        let known = self.expected.remove(&(row.chain, row.seq));
        if known.is_some_and(|mac| !same(&mac, &row.mac)) {
            // The chain is whole but is not the anchored one: it was rebuilt by someone who has the key.
            return self.fail(&row, BreakKind::Foreign);
        }
        self.chain = Some(row.head());
    }

    /// Ends the check: the heads of all chains, or the first break.
    pub fn finish(mut self) -> Result<Vec<Head>, Break> {
        if self.found.is_none() {
            self.settle_pending(None);
        }
        self.close_chain();
        if self.found.is_none() {
            // The last expected head of each chain is how far it once reached.
            self.found = self.expected.iter().next().map(|(&(chain, _), _)| {
                let until = self.expected.range((chain, 0)..=(chain, u64::MAX)).next_back().map_or(0, |(k, _)| k.1);
                let begin = self.begins.get(&chain).map_or(0, |begin| begin.seq);
                let have = self.heads.iter().find(|h| h.chain == chain).map_or(begin, |h| h.seq);
                Break { chain, seq: have.saturating_add(1), kind: BreakKind::Cut { until } }
            });
        }
        self.found.map_or(Ok(self.heads), Err)
    }

    /// The first break so far.
    pub fn first_break(&self) -> Option<Break> {
        self.found
    }

    /// How many rows were checked.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    fn fits(&self, row: &Row, prev: &[u8; 32], seq: u64) -> bool {
        same(&mac(self.key, prev, (row.chain, seq), &row.body), &row.mac)
    }

    fn fail(&mut self, row: &Row, kind: BreakKind) {
        self.found = Some(Break { chain: row.chain, seq: row.seq, kind });
    }

    /// Records a break that is not found at a row that is being read; the first one counts.
    fn break_at(&mut self, chain: u32, seq: u64, kind: BreakKind) {
        self.found.get_or_insert(Break { chain, seq, kind });
    }

    fn expect(&mut self, head: Head) {
        let known = self.expected.insert((head.chain, head.seq), head.mac);
        if known.is_some_and(|mac| !same(&mac, &head.mac)) {
            // Two heads of the same place contradict each other: one of them is not of this log.
            self.break_at(head.chain, head.seq, BreakKind::Foreign);
        }
    }

    /// Decides what happened to the row that did not fit, now that the next one is known. True when there was one.
    fn settle_pending(&mut self, next: Option<&Row>) -> bool {
        let Some((row, prev)) = self.pending.take() else { return false };
        let after = row.seq.saturating_add(1);
        let kind = match next.filter(|next| next.chain == row.chain) {
            // No row follows that would distinguish a changed body from a foreign row.
            None => BreakKind::Changed,
            // The next row still builds on this row's mac, so the mac is as written and the body is not.
            Some(next) if self.fits(next, &row.mac, after) => BreakKind::Changed,
            // The next row belongs here, and this one after it.
            Some(next) if self.fits(next, &prev, row.seq) && self.fits(&row, &next.mac, after) => BreakKind::Swapped,
            Some(_) => BreakKind::Foreign,
        };
        self.fail(&row, kind);
        true
    }

    fn close_chain(&mut self) {
        self.heads.extend(self.chain.take().filter(|head| head.seq > 0));
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Break { chain, seq, kind } = self;
        match kind {
            BreakKind::Gap { until } if *until == seq + 1 => write!(f, "row {seq} of chain {chain} is missing"),
            BreakKind::Gap { until } => write!(f, "rows {seq} to {} of chain {chain} are missing", until - 1),
            BreakKind::Changed => write!(f, "row {seq} of chain {chain} was changed after it was written"),
            BreakKind::Swapped => write!(f, "row {seq} of chain {chain} was swapped with the next one"),
            BreakKind::Repeated => write!(f, "row {seq} of chain {chain} exists twice or is out of order"),
            BreakKind::Foreign => {
                write!(
                    f,
                    "row {seq} of chain {chain} was not written by this database: inserted, replaced, or another key"
                )
            }
            BreakKind::Unsealed => write!(f, "the sealed head of chain {chain} was changed"),
            BreakKind::Headless => write!(f, "the sealed head of chain {chain} is missing"),
            BreakKind::Cut { until } if until == seq => write!(f, "row {seq} at the end of chain {chain} was removed"),
            BreakKind::Cut { until } => write!(f, "rows {seq} to {until} at the end of chain {chain} were removed"),
        }
    }
}

fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::super::{Actor, Details, Event};
    use super::*;
    use crate::clock::Timestamp;

    fn key() -> AuditKey {
        AuditKey::new([3; 32])
    }

    fn event(n: i64) -> Event {
        Event::new(Timestamp(1_700_000_000_000 + n), Actor::Cron, "send", "accepted")
            .subject(&[n.to_le_bytes()[0]; 16])
            .details(Details::new().number("otp", n))
    }

    /// Two chains of five rows each.
    fn chain() -> Vec<Row> {
        let mut rows = Vec::new();
        for chain in [0, 3] {
            let mut head = Head::empty(chain);
            for n in 1..=5 {
                let row = head.next(&key(), &event(n));
                head = row.head();
                rows.push(row);
            }
        }
        rows
    }

    fn heads(rows: &[Row]) -> Vec<Head> {
        let last = |chain| rows.iter().rfind(|r| r.chain == chain).unwrap().head();
        vec![last(0), last(3)]
    }

    fn verify(rows: &[Row], expected: Vec<Head>) -> Result<Vec<Head>, Break> {
        let key = key();
        let mut verifier = Verifier::new(&key).expect_heads(expected);
        for row in rows {
            verifier.check_row(row.clone());
        }
        assert_eq!(verifier.rows(), rows.len() as u64);
        verifier.finish()
    }

    /// As a store returns them.
    fn in_order(mut rows: Vec<Row>) -> Vec<Row> {
        rows.sort_by_key(|row| (row.chain, row.seq));
        rows
    }

    #[test]
    fn an_unchanged_log_is_intact_and_has_its_heads() {
        let rows = chain();

        assert_eq!(verify(&rows, heads(&rows)), Ok(heads(&rows)));
        assert_eq!(verify(&rows, vec![rows[2].head(), Head::empty(9)]), Ok(heads(&rows)));
        assert_eq!(verify(&[], vec![]), Ok(vec![]));
    }

    #[test]
    fn every_flipped_bit_of_every_field_is_found() {
        let whole = chain();
        let known = heads(&whole);
        for at in 0..whole.len() {
            let mut flips: Vec<Row> = Vec::new();
            for bit in 0..32 {
                flips.push(Row { chain: whole[at].chain ^ (1 << bit), ..whole[at].clone() });
            }
            for bit in 0..64 {
                flips.push(Row { seq: whole[at].seq ^ (1 << bit), ..whole[at].clone() });
            }
            for bit in 0..256 {
                let mut row = whole[at].clone();
                row.mac[bit / 8] ^= 1 << (bit % 8);
                flips.push(row);
            }
            for bit in 0..whole[at].body.len() * 8 {
                let mut row = whole[at].clone();
                row.body[bit / 8] ^= 1 << (bit % 8);
                flips.push(row);
            }
            for flipped in flips {
                let mut rows = whole.clone();
                rows[at] = flipped;
                assert!(verify(&rows, known.clone()).is_err(), "row {at}, in the order written");
                assert!(verify(&in_order(rows), known.clone()).is_err(), "row {at}, in the order of the keys");
            }
        }
    }

    #[test]
    fn a_changed_body_is_named_even_when_it_is_the_last() {
        for (at, row) in chain().iter().enumerate() {
            let mut rows = chain();
            rows[at].body[5] ^= 1;

            let found = verify(&rows, heads(&chain())).unwrap_err();

            assert_eq!(found, Break { chain: row.chain, seq: row.seq, kind: BreakKind::Changed });
            assert_eq!(
                found.to_string(),
                format!("row {} of chain {} was changed after it was written", row.seq, row.chain)
            );
        }
    }

    #[test]
    fn every_removed_row_is_found() {
        let whole = chain();
        for at in 0..whole.len() {
            let mut rows = whole.clone();
            let gone = rows.remove(at);

            let found = verify(&rows, heads(&whole)).unwrap_err();

            assert_eq!((found.chain, found.seq), (gone.chain, gone.seq));
            let cut = gone.seq == 5;
            assert_eq!(matches!(found.kind, BreakKind::Cut { until: 5 }), cut, "{found}");
            assert_eq!(matches!(found.kind, BreakKind::Gap { .. }), !cut, "{found}");
        }
    }

    #[test]
    fn a_removed_row_whose_followers_were_renumbered_is_found() {
        let whole = chain();
        for at in 0..4 {
            let mut rows = whole[..5].to_vec();
            rows.remove(at);
            for (i, row) in rows.iter_mut().enumerate() {
                row.seq = i as u64 + 1;
            }

            assert!(verify(&rows, vec![]).is_err(), "row {at}");
        }
    }

    #[test]
    fn every_swapped_pair_is_found() {
        let whole = chain();
        for a in 0..whole.len() {
            for b in a + 1..whole.len() {
                let mut rows = whole.clone();
                rows.swap(a, b);
                assert!(verify(&rows, heads(&whole)).is_err(), "the order of {a} and {b}");

                // The contents alone: chain and seq stay where they were.
                let mut rows = whole.clone();
                (rows[a].body, rows[b].body) = (whole[b].body.clone(), whole[a].body.clone());
                if whole[a].body != whole[b].body {
                    assert!(verify(&rows, heads(&whole)).is_err(), "the bodies of {a} and {b}");
                }
                (rows[a].mac, rows[b].mac) = (whole[b].mac, whole[a].mac);
                let found = verify(&rows, heads(&whole)).unwrap_err();
                if b == a + 1 && whole[a].chain == whole[b].chain {
                    let (chain, seq) = (whole[a].chain, whole[a].seq);
                    assert_eq!(found, Break { chain, seq, kind: BreakKind::Swapped });
                }
            }
        }
    }

    #[test]
    fn every_repeated_row_is_found() {
        let whole = chain();
        for at in 0..whole.len() {
            for to in 0..=whole.len() {
                let mut rows = whole.clone();
                rows.insert(to, whole[at].clone());
                assert!(verify(&rows, heads(&whole)).is_err(), "row {at} again at {to}");
                assert!(verify(&in_order(rows), heads(&whole)).is_err(), "row {at} again, sorted");
            }
        }
    }

    #[test]
    fn a_row_of_other_database_is_found_wherever_it_is_put() {
        let whole = chain();
        let other = AuditKey::new([4; 32]);
        for at in 0..whole.len() {
            let before = if whole[at].seq == 1 { Head::empty(whole[at].chain) } else { whole[at - 1].head() };
            let forged = before.next(&other, &event(99));
            // In place of the row.
            let mut rows = whole.clone();
            rows[at] = forged.clone();
            assert!(verify(&rows, heads(&whole)).is_err(), "in place of {at}");
            // Between the rows, everything after it renumbered.
            let mut rows = whole.clone();
            for row in rows.iter_mut().skip(at).filter(|r| r.chain == forged.chain) {
                row.seq += 1;
            }
            rows.insert(at, forged);
            let found = verify(&rows, vec![]).unwrap_err();
            assert_eq!((found.chain, found.seq), (whole[at].chain, whole[at].seq));
            assert_eq!(found.kind, BreakKind::Foreign, "before {at}");
        }
    }

    #[test]
    fn a_log_of_another_key_is_foreign_from_its_first_row() {
        let other = AuditKey::new([4; 32]);
        let mut verifier = Verifier::new(&other);
        for row in chain() {
            verifier.check_row(row);
        }

        assert_eq!(verifier.finish(), Err(Break { chain: 0, seq: 1, kind: BreakKind::Foreign }));
    }

    #[test]
    fn a_cut_tail_is_found_against_the_heads_alone() {
        let whole = chain();
        let rows: Vec<Row> = whole.iter().filter(|r| r.chain == 0 && r.seq <= 3).cloned().collect();

        assert!(verify(&rows, vec![]).is_ok());
        let found = verify(&rows, heads(&whole)).unwrap_err();

        assert_eq!(found, Break { chain: 0, seq: 4, kind: BreakKind::Cut { until: 5 } });
        assert_eq!(found.to_string(), "rows 4 to 5 at the end of chain 0 were removed");
    }

    /// The sealed heads of [`chain`], pruned after so many rows of each.
    fn sealed(rows: &[Row], pruned: u64) -> Vec<SealedHead> {
        let pruned = |chain| rows.iter().find(|r| r.chain == chain && r.seq == pruned).map(Row::head);
        (0..4)
            .map(|chain| {
                let last = rows.iter().rfind(|r| r.chain == chain).map(Row::head);
                let [last, pruned] = [last, pruned(chain)].map(|head| head.unwrap_or(Head::empty(chain)));
                SealedHead::seal(&key(), last, pruned, 4)
            })
            .collect()
    }

    fn verify_sealed(rows: &[Row], heads: &[SealedHead], anchor: Vec<Head>) -> Result<Vec<Head>, Break> {
        let key = key();
        let mut verifier = Verifier::new(&key).sealed(heads).expect_heads(anchor);
        rows.iter().for_each(|row| verifier.check_row(row.clone()));
        verifier.ends_at(heads).finish()
    }

    #[test]
    fn a_cut_tail_and_an_emptied_log_are_found_by_the_sealed_heads() {
        let whole = chain();
        let heads = sealed(&whole, 0);
        assert!(verify_sealed(&whole, &heads, vec![]).is_ok());
        for left in 0..5 {
            let rows: Vec<Row> = whole.iter().filter(|row| row.chain == 0 || row.seq <= left).cloned().collect();
            let found = verify_sealed(&rows, &heads, vec![]).unwrap_err();
            assert_eq!(found, Break { chain: 3, seq: left + 1, kind: BreakKind::Cut { until: 5 } });
        }
        let found = verify_sealed(&[], &heads, vec![]).unwrap_err();
        assert_eq!(found, Break { chain: 0, seq: 1, kind: BreakKind::Cut { until: 5 } });
        // With their heads gone as well.
        let found = verify_sealed(&[], &[], vec![]).unwrap_err();
        assert_eq!(found, Break { chain: 0, seq: 0, kind: BreakKind::Headless });
        for gone in 0..4 {
            let mut heads = heads.clone();
            heads.remove(gone);
            let chain = u32::try_from(gone).unwrap();
            let rows: Vec<Row> = whole.iter().filter(|row| row.chain != chain).cloned().collect();
            assert_eq!(verify_sealed(&rows, &heads, vec![]).unwrap_err().kind, BreakKind::Headless, "{chain}");
            assert_eq!(verify_sealed(&whole, &heads, vec![]).unwrap_err().kind, BreakKind::Headless, "{chain}");
        }
    }

    #[test]
    fn a_head_that_was_fitted_to_what_is_left_is_found() {
        let whole = chain();
        let rows: Vec<Row> = whole.iter().filter(|row| row.seq <= 4).cloned().collect();
        let mut heads = sealed(&whole, 0);
        (heads[0].seq, heads[0].mac) = (4, rows[3].mac);
        let found = verify_sealed(&rows, &heads, vec![]).unwrap_err();
        assert_eq!(found, Break { chain: 0, seq: 4, kind: BreakKind::Unsealed });
    }

    #[test]
    fn a_row_of_a_copy_that_went_another_way_is_beyond_the_head() {
        let whole = chain();
        let heads = sealed(&whole, 0);
        let mut rows = whole.clone();
        rows.insert(5, whole[4].head().next(&key(), &event(77)));
        let found = verify_sealed(&rows, &heads, vec![]).unwrap_err();
        assert_eq!(found, Break { chain: 0, seq: 6, kind: BreakKind::Foreign });
    }

    #[test]
    fn a_pruned_log_is_verified_from_where_it_was_cut() {
        let whole = chain();
        for pruned in 1..=5 {
            let heads = sealed(&whole, pruned);
            let rows: Vec<Row> = whole.iter().filter(|row| row.seq > pruned).cloned().collect();
            assert!(verify_sealed(&rows, &heads, vec![]).is_ok(), "{pruned}");
            // The same rows missing without a sealed cut.
            assert!(verify_sealed(&rows, &sealed(&whole, 0), vec![]).is_err(), "{pruned}");
            // An anchor of a row that is gone cannot be compared; of the last one that is gone it can.
            for (at, kept) in [(1, pruned > 1), (pruned, true)] {
                let anchor = whole.iter().find(|row| row.seq == at).unwrap().head();
                assert!(verify_sealed(&rows, &heads, vec![anchor]).is_ok());
                let other = Head { mac: [1; 32], ..anchor };
                let compared = at == pruned;
                assert_eq!(verify_sealed(&rows, &heads, vec![other]).is_err(), compared, "{pruned} {at} {kept}");
            }
        }
    }

    #[test]
    fn what_was_rolled_back_together_is_found_against_an_anchor() {
        let whole = chain();
        let old: Vec<Row> = whole.iter().filter(|row| row.seq <= 3).cloned().collect();
        let heads = sealed(&old, 0);
        assert!(verify_sealed(&old, &heads, vec![]).is_ok(), "nothing inside of the database shows it");
        let found = verify_sealed(&old, &heads, vec![whole[4].head()]).unwrap_err();
        assert_eq!(found, Break { chain: 0, seq: 4, kind: BreakKind::Cut { until: 5 } });
    }

    #[test]
    fn a_log_rebuilt_with_the_right_key_is_found_against_an_anchor() {
        let mut head = Head::empty(0);
        let mut rows = Vec::new();
        for n in 1..=5 {
            let row = head.next(&key(), &event(n + 100));
            head = row.head();
            rows.push(row);
        }

        assert!(verify(&rows, vec![]).is_ok());
        let found = verify(&rows, vec![chain()[2].head()]).unwrap_err();

        assert_eq!(found, Break { chain: 0, seq: 3, kind: BreakKind::Foreign });
    }
}
