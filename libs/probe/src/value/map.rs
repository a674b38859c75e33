//! Objects: members in order, with an index once there are many.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Str, Val};

/// From this many members on keys are looked up in an index. Its hash is keyed, because agents choose the keys.
const INDEXED: usize = 16;

/// The members of an object, each key once, in order of their first appearance.
#[derive(Clone, Default)]
pub struct Map {
    members: Vec<(Str, Val)>,
    #[expect(clippy::box_collection, reason = "hardly any object has one, and it would double the size of all")]
    index: Option<Box<HashMap<Str, usize>>>,
}

impl Map {
    /// `members` without repeats; `distinct` says that there are none.
    pub(crate) fn new(members: Vec<(Str, Val)>, distinct: bool) -> Self {
        if distinct && members.len() <= INDEXED {
            return Self { members, index: None };
        }
        let mut map = Self { members: Vec::with_capacity(members.len()), index: None };
        for (key, value) in members {
            map.insert(key, value);
        }
        map
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Str, &Val)> {
        self.members.iter().map(|(k, v)| (k, v))
    }

    pub(crate) fn at(&self, i: usize) -> Option<(&Str, &Val)> {
        self.members.get(i).map(|(k, v)| (k, v))
    }

    fn find(&self, key: &[u8]) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(key).copied(),
            None => {
                crate::budget::work(self.members.len() / 16);
                self.members.iter().position(|(k, _)| k.as_bytes() == key)
            }
        }
    }

    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Val> {
        self.find(key).and_then(|i| self.members.get(i)).map(|(_, v)| v)
    }

    pub(crate) fn get_mut(&mut self, key: &[u8]) -> Option<&mut Val> {
        let i = self.find(key)?;
        self.members.get_mut(i).map(|(_, v)| v)
    }

    pub(crate) fn insert(&mut self, key: Str, value: Val) {
        if self.index.is_none() && self.members.len() >= INDEXED {
            crate::budget::work(self.members.len());
            let keys = self.members.iter().enumerate().map(|(i, (k, _))| (k.clone(), i));
            self.index = Some(Box::new(keys.collect()));
        }
        if let Some(old) = self.get_mut(key.as_bytes()) {
            *old = value;
            return;
        }
        if let Some(index) = &mut self.index {
            index.insert(key.clone(), self.members.len());
        }
        self.members.push((key, value));
    }

    /// Takes a member out; the others keep their order.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        if let Some(i) = self.find(key) {
            crate::budget::work(self.members.len() / 16);
            self.members.remove(i);
            self.index = None;
        }
    }

    /// The same keys with new values; a member for which `f` gives nothing is left out.
    pub(crate) fn map<E>(mut self, mut f: impl FnMut(Val) -> Result<Option<Val>, E>) -> Result<Self, E> {
        let mut members = Vec::with_capacity(self.members.len());
        for (key, value) in std::mem::take(&mut self.members) {
            if let Some(value) = f(value)? {
                members.push((key, value));
            }
        }
        Ok(Self::new(members, true))
    }

    /// The map, copied if somebody else holds it too.
    pub(crate) fn take(map: Rc<Self>) -> Self {
        Rc::try_unwrap(map).unwrap_or_else(|map| {
            super::copying(map.len() * 2);
            (*map).clone()
        })
    }

    pub(crate) fn make_mut(map: &mut Rc<Self>) -> &mut Self {
        if Rc::strong_count(map) > 1 {
            super::copying(map.len() * 2);
        }
        Rc::make_mut(map)
    }

    /// Members by key, as comparison and `keys` want them.
    pub(crate) fn sorted(&self) -> Vec<(&Str, &Val)> {
        crate::budget::work(self.members.len());
        let mut members: Vec<_> = self.iter().collect();
        members.sort_unstable_by_key(|(k, _)| *k);
        members
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        if !self.members.is_empty() {
            super::bury(std::mem::take(&mut self.members), |members| members.into_iter().map(|(_, v)| v));
        }
    }
}
