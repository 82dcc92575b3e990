//! Cookies of a sequence (RFC 6265, and the prefixes of names of its successor).

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use sb_measurement::Timestamp;

use super::prepare::Url;

/// Cookies that a sequence has been given.
#[derive(Default)]
pub(super) struct Jar(Vec<Cookie>);

struct Cookie {
    host: String,
    /// It goes to the hosts below `host`, too.
    below: bool,
    path: String,
    secure: bool,
    /// None: as long as the sequence.
    until: Option<Timestamp>,
    name: String,
    value: String,
}

impl Jar {
    /// Takes the cookies of an answer.
    pub(super) fn take_from(&mut self, url: &Url, fields: &[(String, String)], now: Timestamp) {
        for (_, text) in fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
            let Some(cookie) = Cookie::of(url, text, now) else { continue };
            self.0.retain(|old| {
                (&old.host, &old.path, &old.name) != (&cookie.host, &cookie.path, &cookie.name)
            });
            if cookie.until.is_none_or(|until| until > now) {
                self.0.push(cookie);
            }
        }
    }

    /// The `Cookie` header for a request; `None` when there is nothing to send.
    pub(super) fn header(&self, url: &Url, now: Timestamp) -> Option<String> {
        let fitting = self.0.iter().filter(|cookie| cookie.fits(url, now));
        let pairs: Vec<String> = fitting.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

/// By the clock of the machine, which is what servers mean by a date.
pub(super) fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX))
}

impl Cookie {
    /// None: it is none, or this server may not set it.
    fn of(url: &Url, text: &str, now: Timestamp) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (name, value) = parts.next()?.split_once('=')?;
        let directory =
            url.path.split('?').next().unwrap_or("/").rsplit_once('/').map_or("", |(start, _)| start);
        let host = url.host.to_ascii_lowercase();
        let mut cookie = Self {
            below: false,
            path: if directory.is_empty() { "/" } else { directory }.to_owned(),
            secure: false,
            until: None,
            name: name.trim().to_owned(),
            value: value.trim().to_owned(),
            host,
        };
        let (mut max_age, mut has_path) = (None, false);
        for attribute in parts {
            let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            let (key, value) = (key.trim(), value.trim());
            if key.eq_ignore_ascii_case("path") && value.starts_with('/') {
                value.clone_into(&mut cookie.path);
                has_path = true;
            } else if key.eq_ignore_ascii_case("domain") && !value.is_empty() {
                let domain = value.trim_start_matches('.').to_ascii_lowercase();
                if domain != cookie.host && !may_share(&domain, &cookie.host) {
                    return None;
                }
                cookie.below = true;
                cookie.host = domain;
            } else if key.eq_ignore_ascii_case("secure") {
                cookie.secure = true;
            } else if key.eq_ignore_ascii_case("max-age") {
                max_age = value.parse::<i64>().ok();
            } else if key.eq_ignore_ascii_case("expires") {
                cookie.until = date(value);
            }
        }
        if let Some(seconds) = max_age {
            cookie.until =
                Some(Timestamp::from_micros(now.micros().saturating_add(seconds.saturating_mul(1_000_000))));
        }
        let begins = |prefix: &str| {
            cookie.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let secure = cookie.secure && url.tls;
        let is_allowed = if begins("__Host-") {
            secure && !cookie.below && has_path && cookie.path == "/"
        } else {
            secure || !begins("__Secure-")
        };
        is_allowed.then_some(cookie)
    }

    fn fits(&self, url: &Url, now: Timestamp) -> bool {
        let path = url.path.split('?').next().unwrap_or_default();
        let rest = path.strip_prefix(&*self.path);
        (self.host.eq_ignore_ascii_case(&url.host) || self.below && is_below(&url.host, &self.host))
            && (url.tls || !self.secure)
            && self.until.is_none_or(|until| until > now)
            && rest.is_some_and(|rest| rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/'))
    }
}

/// The date of an `Expires`, as RFC 6265 (5.1.1) has it read: words in any order, whatever stands between them.
fn date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for word in text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != ':') {
        let digits = &word[..word.bytes().take_while(u8::is_ascii_digit).count()];
        let number = digits.parse::<i64>().ok();
        if time.is_none() && word.contains(':') {
            let parts: Vec<i64> = word.split(':').filter_map(|part| part.parse().ok()).collect();
            let [hours @ 0..24, minutes @ 0..60, seconds @ 0..60] = parts[..] else { return None };
            time = Some(hours * 3600 + minutes * 60 + seconds);
        } else if day.is_none() && matches!(digits.len(), 1 | 2) {
            day = number;
        } else if month.is_none()
            && let Some(found) = MONTHS
                .iter()
                .position(|name| word.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(name)))
        {
            month = i64::try_from(found + 1).ok();
        } else if year.is_none() && matches!(digits.len(), 2..=4) {
            year = number.map(|year| match year {
                0..70 => year + 2000,
                70..100 => year + 1900,
                year => year,
            });
        }
    }
    let (year, month, day) = (year?, month?, day.filter(|day| (1..=31).contains(day))?);
    let seconds = days_since_1970(year, month, day) * 86_400 + time?;
    (year >= 1601).then(|| Timestamp::from_micros(seconds * 1_000_000))
}

/// Of a date of the Gregorian calendar, in which a year is made to begin with March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// Whether a host may set a cookie for this domain above it: not one under which anybody can have a name.
fn may_share(domain: &str, host: &str) -> bool {
    /// Of clouds, where deployments of others are neighbours, and of countries.
    const SHARED: [&str; 22] = [
        "amazonaws.com",
        "amazonaws.com.cn",
        "on.aws",
        "awsapprunner.com",
        "cloudfront.net",
        "elasticbeanstalk.com",
        "azurewebsites.net",
        "azurestaticapps.net",
        "azurefd.net",
        "azure-api.net",
        "azurecontainerapps.io",
        "windows.net",
        "cloudapp.net",
        "cloudapp.azure.com",
        "cloudfunctions.net",
        "run.app",
        "appspot.com",
        "appdomain.cloud",
        "workers.dev",
        "pages.dev",
        "vercel.app",
        "netlify.app",
    ];
    const BELOW_COUNTRIES: [&str; 8] = ["ac", "co", "com", "edu", "gov", "net", "ne", "org"];
    let is_public = match domain.rsplit_once('.') {
        None => true,
        Some((second, country)) => country.len() == 2 && BELOW_COUNTRIES.contains(&second),
    };
    let is_shared = SHARED.iter().any(|shared| domain == *shared || is_below(domain, shared));
    is_below(host, domain) && host.parse::<IpAddr>().is_err() && !is_public && !is_shared
}

fn is_below(host: &str, domain: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the year 2026.
    const NOW: Timestamp = Timestamp::from_micros(1_796_000_000_000_000);

    fn url(text: &str) -> Url {
        crate::prepare::to_url(text, text).unwrap()
    }

    #[test]
    fn cookies_are_taken_for_the_host_and_what_is_its_own_above_it() {
        #[track_caller]
        fn check_domain(host: &str, domain: &str, others: &[(&str, bool)]) {
            let mut jar = Jar::default();
            let at = |host: &str| url(&format!("https://{host}/"));
            jar.take_from(&at(host), &[("set-cookie".to_owned(), format!("a=1; Domain={domain}"))], NOW);
            for (other, goes) in others {
                assert_eq!(jar.header(&at(other), NOW).is_some(), *goes, "{domain} of {host} to {other}");
            }
        }
        check_domain(
            "a.example.org",
            "example.org",
            &[("a.example.org", true), ("B.example.org", true), ("xexample.org", false)],
        );
        check_domain("a.example.org", ".Example.ORG", &[("example.org", true)]);
        check_domain(
            "a.example.org",
            "a.example.org",
            &[("a.example.org", true), ("b.a.example.org", true), ("b.example.org", false)],
        );
        check_domain("a.example.org", "", &[("a.example.org", true), ("b.a.example.org", false)]);
        check_domain("127.0.0.1", "example.org", &[("127.0.0.1", false), ("example.org", false)]);
        check_domain("127.0.0.1", "0.0.1", &[("127.0.0.1", false)]);
        check_domain("127.0.0.1", "127.0.0.1", &[("127.0.0.1", true)]);
        check_domain("a.example.org", "org", &[("a.example.org", false)]);
        check_domain("a.example.co.uk", "co.uk", &[("a.example.co.uk", false)]);
        check_domain(
            "x.execute-api.eu-west-1.amazonaws.com",
            "amazonaws.com",
            &[("x.execute-api.eu-west-1.amazonaws.com", false)],
        );
        check_domain(
            "x.lambda-url.eu-west-1.on.aws",
            "lambda-url.eu-west-1.on.aws",
            &[("y.lambda-url.eu-west-1.on.aws", false)],
        );
        check_domain("a.example.org", "b.example.org", &[("a.example.org", false), ("b.example.org", false)]);
    }

    /// What a jar sends to the last URL, after it was given these cookies by these URLs.
    #[track_caller]
    fn check(given: &[(&str, &str)], to: &str, expected: Option<&str>) {
        let mut jar = Jar::default();
        for (from, cookie) in given {
            jar.take_from(&url(from), &[("Set-Cookie".to_owned(), (*cookie).to_owned())], NOW);
        }
        assert_eq!(jar.header(&url(to), NOW).as_deref(), expected, "{given:?} to {to}");
    }

    #[test]
    fn cookies_go_back_where_they_came_from() {
        let given = [
            ("http://a/shop/cart?x=/y/", "session=1; HttpOnly"),
            ("http://a/shop/cart", "all=2; Path=/"),
            ("https://a/", "safe=3; Secure"),
        ];
        check(&given, "http://a/shop/buy", Some("session=1; all=2"));
        check(&given, "https://a/shopping", Some("all=2; safe=3"));
        check(&given, "https://b/shop", None);
        check(&[("http://a/", "no pair")], "http://a/", None);
        check(&[("http://a/shop/", "a=1"), ("http://a/shop/", "a=2")], "http://a/shop", Some("a=2"));
    }

    #[test]
    fn a_path_with_a_slash_at_its_end_is_a_folder() {
        let given = [("http://a/", "a=1; Path=/x/")];
        for (to, goes) in
            [("/x/", true), ("/x/y?z", true), ("/x", false), ("/x?y=/x/", false), ("/xy", false)]
        {
            check(&given, &format!("http://a{to}"), goes.then_some("a=1"));
        }
        check(&[("http://a/", "a=1; Path=/x")], "http://a/x?y", Some("a=1"));
    }

    #[test]
    fn a_cookie_of_the_past_is_deleted() {
        let past = [
            "Max-Age=0",
            "Max-Age=-1",
            "Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "expires=Wed, 21-Oct-2015 07:28:00 GMT",
            "Expires=Sunday, 06-Nov-94 08:49:37 GMT",
            "Expires=Sun Nov  6 08:49:37 1994",
            "Max-Age=0; Expires=Fri, 31 Dec 2100 00:00:00 GMT",
        ];
        for attribute in past {
            check(&[("http://a/", "a=1"), ("http://a/", &format!("a=; {attribute}"))], "http://a/", None);
        }
        for attribute in [
            "Expires=Fri, 31 Dec 2100 00:00:00 GMT",
            "Max-Age=9; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            "Expires=soon",
            "Max-Age=x",
        ] {
            check(&[("http://a/", &format!("a=1; {attribute}"))], "http://a/", Some("a=1"));
        }
        let mut jar = Jar::default();
        jar.take_from(&url("http://a/"), &[("set-cookie".to_owned(), "a=1; Max-Age=2".to_owned())], NOW);
        let in_seconds = |seconds: i64| Timestamp::from_micros(NOW.micros() + seconds * 1_000_000);
        assert!(jar.header(&url("http://a/"), in_seconds(1)).is_some());
        assert!(jar.header(&url("http://a/"), in_seconds(2)).is_none());
    }

    #[test]
    fn the_days_of_dates_are_counted() {
        let seconds = |text| date(text).map(Timestamp::seconds);
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:01 GMT"), Some(1));
        assert_eq!(seconds("Tue, 29 Feb 2000 12:00:00 GMT"), Some(951_825_600));
        assert_eq!(seconds("Wed, 21-Oct-2015 07:28:00 GMT"), Some(1_445_412_480));
        assert_eq!(seconds("Wed, 21-Oct-2015 25:28:00 GMT"), None);
        assert_eq!(seconds("é 1"), None);
    }

    #[test]
    fn a_name_may_want_a_cookie_to_be_secure_or_of_one_host() {
        for (from, cookie, goes) in [
            ("https://a.b.example/", "__Secure-a=1; Secure", true),
            ("https://a.b.example/", "__Secure-a=1", false),
            ("http://a.b.example/", "__secure-a=1; Secure", false),
            ("https://a.b.example/", "__Host-a=1; Secure; Path=/", true),
            ("https://a.b.example/", "__Host-a=1; Secure", false),
            ("https://a.b.example/", "__Host-a=1; Secure; Path=/x", false),
            ("https://a.b.example/", "__Host-a=1; Secure; Path=/; Domain=b.example", false),
            ("https://a.b.example/", "__Host-a=1; Path=/", false),
        ] {
            let sent = cookie.split(';').next();
            check(&[(from, cookie)], "https://a.b.example/", sent.filter(|_| goes));
        }
    }
}
