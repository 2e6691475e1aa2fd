//! Floor 6: the fold: journal records become series and good/total counts.
