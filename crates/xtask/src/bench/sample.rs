//! Times of the same request, and how two lists of them compare.

/// Times in milliseconds, the shortest first.
pub(super) struct Sample(Vec<f64>);

/// The mean of the shorter times, and the variance that it has.
pub(super) struct TrimmedMean {
    pub(super) value: f64,
    variance: f64,
}

impl Sample {
    pub(super) fn new(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    /// All of them as one.
    pub(super) fn of_all(samples: &[Self]) -> Self {
        Self::new(samples.iter().flat_map(|sample| &sample.0).copied().collect())
    }

    /// The time that so many of a hundred are not above.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        self.0[(self.0.len() - 1) * percent / 100]
    }

    /// Without the slowest so many of a hundred: what else the machine did meanwhile.
    ///
    /// What is left varies less than its mean does, so the variance is that of all,
    /// with the longest time that is kept in the place of those that are not (Yuen,
    /// "The two-sample trimmed t for unequal population variances", 1974).
    pub(super) fn trimmed_mean(&self, percent: usize) -> TrimmedMean {
        let kept = self.0.len() - self.0.len() * percent / 100;
        let mut winsorized = self.0.clone();
        winsorized[kept..].fill(self.0[kept - 1]);
        let center = mean(&winsorized);
        let squares: f64 = winsorized.iter().map(|time| (time - center).powi(2)).sum();
        let variance = squares / count(&self.0[..kept]) / (count(&self.0[..kept]) - 1.0);
        TrimmedMean { value: mean(&self.0[..kept]), variance }
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are less than 2^52")]
fn count(times: &[f64]) -> f64 {
    times.len() as f64
}

fn mean(times: &[f64]) -> f64 {
    times.iter().sum::<f64>() / count(times)
}

/// The standard error of the difference between two means.
pub(super) fn standard_error(one: &TrimmedMean, other: &TrimmedMean) -> f64 {
    (one.variance + other.variance).sqrt()
}

/// Welch's t: the difference between two means, in standard errors.
pub(super) fn welch_t(one: &TrimmedMean, other: &TrimmedMean) -> f64 {
    (one.value - other.value) / standard_error(one, other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-6, "{value} instead of {expected}");
    }

    #[test]
    fn t_is_what_textbooks_say() {
        // Extra hours of sleep with each of two drugs: Student, Biometrika 6 (1908).
        let one = Sample::new(vec![0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]);
        let other = Sample::new(vec![1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]);
        let (one, other) = (one.trimmed_mean(0), other.trimmed_mean(0));
        assert_close(one.value, 0.75);
        assert_close(other.value, 2.33);
        assert_close(welch_t(&one, &other), -1.860_813);
        assert_close(welch_t(&other, &one), 1.860_813);
    }

    #[test]
    fn the_slowest_are_left_out_and_still_count_for_the_variance() {
        let mean =
            Sample::new(vec![100.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]).trimmed_mean(10);
        assert_close(mean.value, 5.0);
        // 1 to 9 and another 9: their squares are 74.4 from 5.4; 74.4 / (9 * 8).
        assert_close(mean.variance, 1.033_333);
    }

    #[test]
    fn percentiles_are_times_of_the_sample() {
        let sample = Sample::new((0..=100).rev().map(f64::from).collect());
        for (percent, time) in [(0, 0.0), (10, 10.0), (50, 50.0), (100, 100.0)] {
            assert_close(sample.percentile(percent), time);
        }
    }
}
