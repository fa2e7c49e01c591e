//! `cargo xtask bench timing`: whether the time of a refused login tells users
//! apart.
//!
//! One client on one connection sends one login after the other. Each round has
//! one of each kind, in an order that is shuffled anew, so that whatever else
//! happens on the machine happens to all kinds alike; each comes from an address of
//! its own, so that none is throttled. Of each kind the slowest are left out, and the
//! rest is compared by Welch's t: first the faster half, where the least noise is,
//! then all but the slowest tenth, where less can hide. One kind is made to leak: a
//! run that does not find it has shown nothing, and fails.

use std::net::Ipv4Addr;
use std::ops::RangeFrom;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::sample::{Sample, standard_error, welch_t};
use super::{Client, WRONG_PASSWORD, name};
use crate::artifacts::Profile;
use crate::subject::{PASSWORD, Subject};

/// Largest |t| between logins that must not differ.
const BOUND: f64 = 4.5;

/// How many of the slowest are left out, in percent: one comparison with each.
const LEFT_OUT: [usize; 2] = [50, 10];

/// Rounds before those that count.
const WARM_UP: usize = 20;

/// Names of each kind, which take turns: of one name, a hundred logins may fail.
const NAMES: usize = 100;

/// The leak that has to be found.
const LEAK: Duration = Duration::from_millis(2);

/// Another of OWASP's five settings. What it is the hash of does not matter.
const ARGON2ID_19_MIB: &str = "$argon2id$v=19$m=19456,t=2,p=1$cVZ0b2x0d2tXeGZlS3NHag\
                               $7Yc4bPb8xGv6N9tO1m7kGk0u6bq1M8x3cXq5l9eW2aE";
const BCRYPT_10: &str = "$2b$10$tR7pLr1fQd0mZ6kWc9xY2u7uPmN7abzGMQyrK14HLhb0VQWV7G77K";
const BCRYPT_12: &str = "$2b$12$tR7pLr1fQd0mZ6kWc9xY2u/XS0Z5Wz03icS/TADU.lxlGDvD3mUtS";

/// A login that is refused, again and again.
struct Kind {
    title: &'static str,
    /// What the names start with.
    letter: char,
    password: &'static str,
    /// Why it is refused, as the audit log has it.
    reason: &'static str,
    /// What the client adds to the time.
    delay: Duration,
}

const fn unknown_user(letter: char) -> Kind {
    Kind { reason: "unknown_user", ..wrong_password("unknown user", letter) }
}

const fn wrong_password(title: &'static str, letter: char) -> Kind {
    let (password, reason) = (WRONG_PASSWORD, "wrong_password");
    Kind { title, letter, password, reason, delay: Duration::ZERO }
}

/// Measures, prints, and judges.
///
/// # Errors
///
/// When something fails to start, logins that must not differ do, or the machine
/// is too busy to tell.
pub fn run(profile: Profile, rounds: usize, seed: u64) -> anyhow::Result<()> {
    let service = Subject::start(profile, &[])?;
    let mut bench = Bench {
        client: service.client(),
        service,
        random: fastrand::Rng::with_seed(seed),
        addresses: u32::from(Ipv4Addr::new(10, 0, 0, 0))..,
    };
    let found = bench.users_alike(rounds)?;
    bench.users_with_different_hashes(rounds.div_ceil(4))?;
    found.judge()
}

struct Found {
    /// The largest |t| of the pairs that must not differ.
    largest: f64,
    /// The largest t of the pair that does.
    leak: f64,
}

impl Found {
    fn judge(&self) -> anyhow::Result<()> {
        let Self { largest, leak } = self;
        ensure!(*largest < BOUND, "the clock tells users apart: |t| = {largest:.2}");
        ensure!(*leak >= BOUND, "too much noise: {LEAK:?} more were not found, t = {leak:.2}");
        Ok(())
    }
}

struct Bench {
    client: Client,
    service: Subject,
    random: fastrand::Rng,
    addresses: RangeFrom<u32>,
}

impl Bench {
    /// Everybody's hash is one of today's.
    fn users_alike(&mut self, rounds: usize) -> anyhow::Result<Found> {
        let kinds = [
            unknown_user('u'),
            wrong_password("wrong password", 'w'),
            Kind {
                password: PASSWORD,
                reason: "user_disabled",
                ..wrong_password("disabled user", 'd')
            },
            Kind { delay: LEAK, ..wrong_password("2 ms more", 'l') },
        ];
        for letter in ['w', 'd', 'l'] {
            self.service.create_users(letter, NAMES)?;
        }
        let disable = "update users set disabled = true where username like 'd0%'";
        self.service.postgres.psql("auth", disable)?;
        let samples = self.measure(&kinds, rounds)?;
        println!("{rounds} refused logins of each kind");
        let mut found = Found { largest: 0.0, leak: 0.0 };
        for left_out in LEFT_OUT {
            println!("  without the slowest {left_out} % of each kind");
            let means = samples.each_ref().map(|sample| sample.trimmed_mean(left_out));
            for (kind, mean) in kinds.iter().zip(&means) {
                println!("    {:<32} {:8.3} ms", kind.title, mean.value);
            }
            let compare = |one: usize, other: usize| {
                let pair = format!("{} / {}", kinds[one].title, kinds[other].title);
                let (one, other) = (&means[one], &means[other]);
                let (ratio, t) = (one.value / other.value, welch_t(one, other));
                let visible = BOUND * standard_error(one, other);
                println!("    {pair:<32} {ratio:8.4}   t = {t:6.2}, {visible:.3} ms would be seen");
                t
            };
            for (one, other) in [(0, 1), (0, 2), (1, 2)] {
                found.largest = found.largest.max(compare(one, other).abs());
            }
            found.leak = found.leak.max(compare(3, 1));
        }
        Ok(found)
    }

    /// As many users with each of several kinds of hash: by how much these stand out
    /// among each other, and whether they do among names that nobody has.
    fn users_with_different_hashes(&mut self, rounds: usize) -> anyhow::Result<()> {
        let postgres = &self.service.postgres;
        postgres.psql("auth", "delete from users where username ~ '^.[0-9]{5}$'")?;
        self.service.create_users('t', NAMES)?;
        for (letter, hash) in [('o', ARGON2ID_19_MIB), ('b', BCRYPT_10), ('c', BCRYPT_12)] {
            self.service.create_users(letter, NAMES)?;
            postgres.psql(
                "auth",
                &format!(
                    "update users set password_hash = '{hash}' where username like '{letter}0%'"
                ),
            )?;
        }
        // As many requests about nobody as about somebody.
        let kinds = [
            wrong_password("today's Argon2id", 't'),
            wrong_password("Argon2id, m=19456, t=2", 'o'),
            wrong_password("bcrypt, cost 10", 'b'),
            wrong_password("bcrypt, cost 12", 'c'),
            unknown_user('u'),
            unknown_user('v'),
            unknown_user('w'),
            unknown_user('x'),
        ];
        let samples = self.measure(&kinds, rounds)?;
        let (users, nobody) = samples.split_at(4);
        let (anybody, nobody) = (Sample::of_all(users), Sample::of_all(nobody));
        println!("{rounds} wrong passwords for users with each of these hashes");
        let describe = |title: &str, sample: &Sample| {
            let [fast, median, slow] = [10, 50, 90].map(|percent| sample.percentile(percent));
            let mean = sample.trimmed_mean(0).value;
            let ratio = mean / nobody.trimmed_mean(0).value;
            println!(
                "  {title:<32} {mean:8.3} ms (10 % in {fast:.1}, half in {median:.1}, \
                 90 % in {slow:.1})   {ratio:.3} of an unknown user"
            );
        };
        describe("unknown user", &nobody);
        describe("any of the users", &anybody);
        for (kind, sample) in kinds.iter().zip(users) {
            describe(kind.title, sample);
        }
        let t = welch_t(&anybody.trimmed_mean(0), &nobody.trimmed_mean(0));
        println!("  any of the users / unknown user: t = {t:.2}");
        Ok(())
    }

    /// The times of each kind, in their order.
    fn measure<const KINDS: usize>(
        &mut self,
        kinds: &[Kind; KINDS],
        rounds: usize,
    ) -> anyhow::Result<[Sample; KINDS]> {
        self.service.postgres.psql("auth", "delete from audit_log")?;
        let mut times = [const { Vec::new() }; KINDS];
        let mut order: [usize; KINDS] = std::array::from_fn(|place| place);
        for round in 0..WARM_UP + rounds {
            if round % 50 == 0 {
                eprintln!("xtask: {round} of {} rounds", WARM_UP + rounds);
            }
            self.random.shuffle(&mut order);
            for place in order {
                let time = self.refused(&kinds[place], round)?;
                if round >= WARM_UP {
                    times[place].push(time.as_secs_f64() * 1e3);
                }
            }
        }
        self.check_reasons(kinds, WARM_UP + rounds)?;
        Ok(times.map(Sample::new))
    }

    /// Times of logins that were refused for another reason would compare well.
    fn check_reasons(&self, kinds: &[Kind], rounds: usize) -> anyhow::Result<()> {
        for kind in kinds {
            let Kind { reason, .. } = kind;
            let expected = kinds.iter().filter(|kind| kind.reason == *reason).count() * rounds;
            let count = format!("select count(*) from audit_log where reason = '{reason}'");
            let counted: usize = self.service.postgres.psql("auth", &count)?.trim().parse()?;
            ensure!(counted == expected, "{reason}: {counted} times instead of {expected}");
        }
        Ok(())
    }

    /// How long a login takes.
    fn refused(&mut self, kind: &Kind, round: usize) -> anyhow::Result<Duration> {
        let address = Ipv4Addr::from(self.addresses.next().context("no more addresses")?);
        let username = name(kind.letter, round % NAMES);
        let started = Instant::now();
        let answer = self.client.login(address, &username, kind.password)?;
        std::thread::sleep(kind.delay);
        let time = started.elapsed();
        answer.expect(401).with_context(|| kind.title)?;
        Ok(time)
    }
}
