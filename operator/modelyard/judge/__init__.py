"""Pure rules: from gathered facts to verdicts, conditions and the next step. No I/O."""
