"""What each measure of a report means, in the words that the report and `compare.json` show."""

DEFINITIONS = {
    "exact": (
        "Share of crops whose reading equals the truth, both in Unicode's form NFC: the raw level of "
        "docTR's TextMatch. The interval is Wilson's, for 95%."
    ),
    "caseless": "The same, if upper and lower case are equal.",
    "anyascii": "The same, with each character replaced by its ASCII counterpart: é by e, € by EUR.",
    "unicase": "The same, with ASCII counterparts in lower case.",
    "cer": (
        "Character error rate: the sum of all edit distances, divided by the number of characters of the "
        "truths. White space around a text is ignored. It can be above 1."
    ),
    "wer": "Word error rate: the same in words, which white space separates.",
    "one_minus_ned": (
        "1-NED: 1 minus the mean of the edit distances, each divided by the longer text's length."
    ),
    "outside_vocabulary": (
        "Truths with a character that is not in the model's vocabulary. The model cannot read them, and "
        "they count as wrong; the accuracy within the vocabulary leaves them out."
    ),
    "threshold": (
        "The lowest confidence at which accepted readings reach the target precision on these crops; the "
        "other readings go to review. It holds for one model only: docTR's confidence is the minimum over a"
        " reading's characters for CRNN, SAR, MASTER and VIPTR, and the mean for ViTSTR and PARSeq."
    ),
    "risk_coverage": (
        "For each threshold, the share of crops that are accepted (coverage), and the share of these that "
        "are wrong (risk)."
    ),
    "crops_per_second": (
        "Crops per second that the model ran on its device, in one process, without fetching and decoding."
    ),
    "device_seconds_per_million": "Seconds that the model ran on its device, per million crops.",
    "p_value": (
        "Of McNemar's exact test: the probability of counts that differ at least as much, if both models "
        "are equally good. Below 0.05, the difference is unlikely to be chance."
    ),
    "agreement": "Share of crops that two models read alike.",
    "contest": (
        "Share of the models' summed confidence that is not on the strongest reading; 0 if all agree."
    ),
    "by_class": "Share of the truths' characters, of each class, that were read correctly.",
}
