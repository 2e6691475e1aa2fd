//! Floor 8: budgets, burn rates, alert states, routing, silences, explanation.
