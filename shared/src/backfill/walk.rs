//! One invocation's way through registries, their repositories and their images.

mod apart;
mod compare;
mod filtered;
mod revisit;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use compare::Compared;

use super::{
    Listings, Times,
    group::{body, groups, is_attachment},
    order::{Cursor, Order, Plan, Repositories, Scope},
    summary::Counts,
};
use crate::{
    deadline::DeadlinePassed,
    error::{Error, ErrorType},
    limits::ByteBudget,
    oci::Reference,
    queue::Queue,
    registry::{ListedImage, Listing, Run, Side},
    request::SyncRequest,
    transport::Meter,
};

/// Tags that are compared in one step, which is done whole or again: a batch of ECR's API.
const STEP: usize = 100;

/// Likewise after an invocation that came no further.
const SMALL_STEP: usize = 10;

/// Tags that are held before their messages are sent: tags of one digest meet within these.
const HELD: usize = 1000;

/// Messages in a full batch.
const BATCH: usize = 10;

/// Pages of one list. Chosen: with a hundred entries each, ten times the images that an ECR repository may have.
const MOST_PAGES: u32 = 10_000;

/// Why a walk ends before everything is listed.
pub(super) enum Stop {
    /// The invocation's time is over.
    Time,
    /// What is listed or asked.
    Failed(Error),
    /// The queue: nothing that is found could be sent.
    Unsent(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error.error_type {
            ErrorType::DeadlineExceeded => Self::Time,
            _ => Self::Failed(error),
        }
    }
}

impl From<DeadlinePassed> for Stop {
    fn from(_: DeadlinePassed) -> Self {
        Self::Time
    }
}

/// A walk, how far it has come, and what it has found and not sent yet.
pub(super) struct Walk<'w> {
    listings: &'w dyn Listings,
    budget: &'w ByteBudget,
    order: &'w Order,
    plan: &'w Plan<'w>,
    queue: Option<&'w dyn Queue>,
    times: Times,
    cursor: Cursor,
    /// Whether it came further than the message that it began with.
    moved: bool,
    found: Vec<SyncRequest>,
    /// The first failure of this invocation that did not end it.
    failure: Option<Error>,
    /// Backfills of what failed, not sent yet.
    apart: Vec<String>,
    /// Repositories in a row that failed with what may pass.
    troubled: u32,
    /// What a destination of this repository said no with: the others have their share all the same.
    refused: Option<Error>,
    destinations: HashMap<String, Arc<dyn Listing>>,
    /// Pages of lists that were seen in this invocation.
    seen: HashSet<String>,
    source: Arc<Meter>,
    destination: Arc<Meter>,
}

impl<'w> Walk<'w> {
    pub(super) fn new(
        listings: &'w dyn Listings,
        budget: &'w ByteBudget,
        order: &'w Order,
        plan: &'w Plan<'w>,
        queue: Option<&'w dyn Queue>,
        times: Times,
    ) -> Self {
        let mut cursor = order.cursor.clone().unwrap_or_default();
        cursor.counts.invocations += 1;
        Self {
            listings,
            budget,
            order,
            plan,
            queue,
            times,
            cursor,
            moved: false,
            found: Vec::new(),
            failure: None,
            apart: Vec::new(),
            troubled: 0,
            refused: None,
            destinations: HashMap::new(),
            seen: HashSet::new(),
            source: Arc::default(),
            destination: Arc::default(),
        }
    }

    /// The counts of all invocations so far.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = self.cursor.counts;
        counts.add_requests(self.source.read(), self.destination.read());
        counts
    }

    /// Where the next invocation begins.
    pub(super) fn into_cursor(self) -> Cursor {
        let stuck = if self.moved { 0 } else { self.cursor.stuck + 1 };
        Cursor { counts: self.counts(), stuck, ..self.cursor }
    }

    /// Every registry of the plan, from where the cursor stands.
    pub(super) async fn everything(&mut self) -> Result<(), Stop> {
        let plan = self.plan;
        let sources: Vec<Arc<dyn Listing>> = plan
            .scopes
            .iter()
            .map(|scope| self.listings.listing(&scope.registry, Side::Source, self.run(&self.source)))
            .collect::<Result<_, _>>()?;
        for (field, asked) in [("newest", self.order.newest.is_some()), ("pushed_since", plan.since.is_some())] {
            let timeless = plan.scopes.iter().zip(&sources).find(|(_, source)| asked && !source.tells_times());
            if let Some((Scope { registry, .. }, _)) = timeless {
                return Err(Stop::Failed(Error::new(
                    ErrorType::InvalidEvent,
                    format!(
                        "the backfill can't be done: backfill.{field}: {registry} does not tell when an image was pushed, \
                         only ECR's API does; leave it out, or choose by `tags`"
                    ),
                )));
            }
        }
        let stood = plan.scopes.iter().position(|scope| Some(&scope.registry) == self.cursor.registry.as_ref());
        for (scope, source) in plan.scopes.iter().zip(&sources).skip(stood.unwrap_or(0)) {
            if self.cursor.registry.as_ref() != Some(&scope.registry) {
                let counts = self.cursor.counts;
                let registry = Some(scope.registry.clone());
                self.cursor = Cursor { registry, counts, ..Cursor::default() };
            }
            let end = self.registry(scope, source.as_ref()).await;
            self.registry_ended(scope, end)?;
        }
        Ok(())
    }

    fn run(&self, meter: &Arc<Meter>) -> Run {
        Run { meter: Arc::clone(meter), deadline: self.times.deadline }
    }

    async fn registry(&mut self, scope: &Scope, source: &dyn Listing) -> Result<(), Stop> {
        let globs = match &scope.repositories {
            Repositories::Named(names) => return self.repositories(scope, source, names).await,
            Repositories::Listed(globs) => globs.as_ref(),
        };
        loop {
            let page = source.repositories(self.cursor.repositories.as_deref());
            let page = self.times.deadline.bound(page).await??;
            let rules = self.plan.rules.rules();
            let mut names = page.entries;
            names.retain(|name| {
                globs.is_none_or(|globs| globs.is_match(name)) && rules.take_repository(&scope.registry, name)
            });
            self.repositories(scope, source, &names).await?;
            let Some(next) = page.next else { return Ok(()) };
            self.cursor.pages.0 += 1;
            self.turn(&scope.registry, self.cursor.pages.0, &next)?;
            self.cursor.repositories = Some(next);
            self.cursor.repository = None;
        }
    }

    /// The repositories of a page, from where the cursor stands. One that has gone since then begins the page anew.
    async fn repositories(&mut self, scope: &Scope, source: &dyn Listing, names: &[String]) -> Result<(), Stop> {
        let stood = names.iter().position(|name| Some(name) == self.cursor.repository.as_ref());
        let first = stood.map_or(0, |at| at + usize::from(self.cursor.done));
        for name in &names[first..] {
            if self.cursor.repository.as_ref() != Some(name) {
                self.cursor.enter(name);
            }
            let end = self.repository(scope, source, name).await;
            self.moved |= end.is_ok();
            self.repository_ended(scope, name, end)?;
            self.cursor.done = true;
        }
        Ok(())
    }

    async fn repository(&mut self, scope: &Scope, source: &dyn Listing, name: &str) -> Result<(), Stop> {
        self.refused = None;
        if let (Some(newest), None) = (self.order.newest, self.cursor.since) {
            self.look_for_newest(scope, source, name, newest).await?;
        }
        self.images(scope, source, name).await?;
        self.refused.take().map_or(Ok(()), |error| Err(Stop::Failed(error)))
    }

    /// Finds out since when so many wanted images were pushed: their times alone are held, and the list is read twice.
    async fn look_for_newest(
        &mut self,
        scope: &Scope,
        source: &dyn Listing,
        name: &str,
        newest: usize,
    ) -> Result<(), Stop> {
        let mut times: BinaryHeap<Reverse<u64>> =
            self.cursor.times.take().unwrap_or_default().into_iter().map(Reverse).collect();
        let found = loop {
            let page = source.images(name, self.cursor.images.as_deref());
            let page = match self.times.deadline.bound(page).await {
                Ok(Ok(page)) => page,
                stopped => {
                    self.cursor.times = Some(times.into_iter().map(|Reverse(time)| time).collect());
                    stopped??;
                    return Err(Stop::Time);
                }
            };
            for image in page.entries.iter().filter(|image| self.wants_some(scope, name, image)) {
                times.push(Reverse(millis(image.pushed_at)));
                if times.len() > newest {
                    times.pop();
                }
            }
            self.moved = true;
            let Some(next) = page.next else { break times };
            self.cursor.pages.1 += 1;
            self.turn(name, self.cursor.pages.1, &next)?;
            self.cursor.images = Some(next);
        };
        // Fewer than so many: all of them. Those of the very moment of the oldest one are all taken.
        self.cursor.since = Some(if found.len() < newest { 0 } else { found.peek().map_or(0, |Reverse(time)| *time) });
        self.cursor.images = None;
        self.cursor.pages.1 = 0;
        self.seen.clear();
        Ok(())
    }

    /// The images of a repository, from where the cursor stands.
    async fn images(&mut self, scope: &Scope, source: &dyn Listing, name: &str) -> Result<(), Stop> {
        loop {
            let page = source.images(name, self.cursor.images.as_deref());
            let page = self.times.deadline.bound(page).await??;
            let stood = page.entries.iter().position(|image| Some(key(image)) == self.cursor.after.as_deref());
            let mut rest = &page.entries[stood.map_or(0, |at| at + 1)..];
            while !rest.is_empty() {
                let (step, further) = rest.split_at(step(rest, if self.cursor.stuck > 0 { SMALL_STEP } else { STEP }));
                let Compared { counts, lacking, unchanged } = self.compared(scope, source, name, step).await?;
                self.cursor.counts.add(counts);
                self.found.extend(lacking);
                self.revisit(unchanged);
                self.cursor.after = step.last().map(|image| key(image).to_owned());
                self.moved = true;
                rest = further;
                if self.found.len() >= HELD {
                    self.send_full_batches().await.map_err(Stop::Unsent)?;
                }
            }
            let Some(next) = page.next else { return Ok(()) };
            self.cursor.pages.1 += 1;
            self.turn(name, self.cursor.pages.1, &next)?;
            self.cursor.images = Some(next);
            self.cursor.after = None;
        }
    }

    /// Refuses a list that never ends.
    fn turn(&mut self, of: &str, pages: u32, next: &str) -> Result<(), Error> {
        let wrong = if pages > MOST_PAGES {
            format!("it has over {MOST_PAGES} pages")
        } else if !self.seen.insert(format!("{of} {next}")) {
            "its pages lead in a circle".to_owned()
        } else {
            return Ok(());
        };
        let registry = self.cursor.registry.as_deref().unwrap_or_default();
        Err(Error::new(ErrorType::UnsafeRedirect, format!("listing {of} at {registry}: {wrong}")))
    }

    fn wants(&self, reference: &Reference) -> bool {
        let tag = reference.tag().unwrap_or_default();
        self.plan.tags.as_ref().is_none_or(|tags| tags.take(tag)) && self.plan.rules.rules().take(reference)
    }

    fn is_too_old(&self, image: &ListedImage) -> bool {
        self.plan.since.is_some_and(|since| image.pushed_at.is_none_or(|pushed| pushed < since))
            || self.cursor.since.is_some_and(|since| millis(image.pushed_at) < since)
    }

    /// Whether a listed image has a tag that is wanted, whatever its age.
    fn wants_some(&self, scope: &Scope, name: &str, image: &ListedImage) -> bool {
        let wanted = |tag: &String| {
            !is_attachment(tag)
                && Reference::new(&scope.registry, name, Some(tag), None).is_ok_and(|reference| self.wants(&reference))
        };
        image.tags.iter().any(wanted)
    }

    /// Sends what was found but for what would not fill a batch.
    async fn send_full_batches(&mut self) -> Result<(), Error> {
        let whole = groups(&self.found).len();
        self.send(whole - whole % BATCH).await
    }

    /// Sends all that was found, and what failed.
    pub(super) async fn send_all(&mut self) -> Result<(), Error> {
        self.send(usize::MAX).await?;
        let (Some(queue), false) = (self.queue, self.apart.is_empty()) else { return Ok(()) };
        let sent = self.times.ends.bound(queue.send(std::mem::take(&mut self.apart))).await;
        sent.unwrap_or_else(|passed| {
            Err(Error::new(ErrorType::Unavailable, format!("enqueuing what failed of the backfill: {passed}")))
        })
    }

    async fn send(&mut self, most: usize) -> Result<(), Error> {
        let (Some(queue), false) = (self.queue, self.order.dry_run) else {
            self.found.clear();
            return Ok(());
        };
        let groups = groups(&self.found);
        let (now, later) = groups.split_at(most.min(groups.len()));
        if now.is_empty() {
            return Ok(());
        }
        let bodies = now.iter().map(|group| body(group)).collect::<Result<Vec<_>, _>>()?;
        let later = later.concat();
        let count = bodies.len() as u64;
        self.times.ends.bound(queue.send(bodies)).await.unwrap_or_else(|passed| {
            Err(Error::new(ErrorType::Unavailable, format!("enqueuing what the backfill found: {passed}")))
        })?;
        self.cursor.counts.enqueued += count;
        self.found = later;
        Ok(())
    }
}

impl Cursor {
    /// Goes to the beginning of a repository.
    fn enter(&mut self, name: &str) {
        self.repository = Some(name.to_owned());
        self.done = false;
        self.images = None;
        self.after = None;
        self.pages.1 = 0;
        self.times = None;
        self.since = None;
    }
}

/// How many of the first images are a step: one at least, and so many tags at most.
fn step(images: &[ListedImage], tags: usize) -> usize {
    let mut sum = 0;
    let fits = images.iter().take_while(|image| {
        sum += image.tags.len();
        sum <= tags
    });
    fits.count().max(1)
}

/// What an image is found again by within its page.
fn key(image: &ListedImage) -> &str {
    match (&image.digest, image.tags.first()) {
        (Some(digest), _) => digest.as_str(),
        (None, Some(tag)) => tag,
        (None, None) => "",
    }
}

/// In milliseconds since 1970; an unknown time is the oldest.
fn millis(time: Option<SystemTime>) -> u64 {
    let since = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    u64::try_from(since.unwrap_or(Duration::ZERO).as_millis()).unwrap_or(u64::MAX)
}
