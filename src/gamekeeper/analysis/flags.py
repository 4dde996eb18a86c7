"""What every flag is raised for, means and asks to do. `docs/flags.md` is made from this file; `checks.py` raises them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """raised_if completes "Raised if"; means and do are sentences.

    voids  whether nothing about theft or defense follows from a run that raises it on every undefended row: the headline
           then says so, and nothing else. Other flags qualify a number; these take the ground from under all of them
    """

    name: str
    raised_if: str
    means: str
    do: str
    voids: bool = False


FLAGS: dict[str, Flag] = {
    flag.name: flag
    for flag in (
        Flag(
            "weak-victim",
            "on its own test set the model is not clearly better than guessing, by balanced accuracy (for two classes, nor"
            " by the area under the ROC curve), or its answers fit the labels far better with its classes in another order.",
            "A copy of guesses is worth nothing, and what a defense does to it says nothing.",
            "Look at the order of the classes, the scale and units of the inputs, and the column of labels.",
            voids=True,
        ),
        Flag(
            "one-class-answers",
            "every answer that the thief got has the same top class, and this thief reads labels only or the probabilities"
            " do not differ either.",
            "The thief learnt one class only, because the pool holds nothing else or the model sees it wrongly.",
            "Look at the pool's scale and units, or give a pool with inputs of several classes.",
            voids=True,
        ),
        Flag(
            "test-in-pool",
            "more than a tenth of the test set is in the thief's pool.",
            "The clone is tested on inputs it was trained on, so its accuracy says little about theft.",
            "Use a pool that does not overlap the test set.",
            voids=True,
        ),
        Flag(
            "leaked-test",
            "the thief's pool contains inputs of the test set.",
            "The clone is tested on some inputs it was trained on, so its accuracy may be too high.",
            "Use a pool that does not overlap the test set.",
        ),
        Flag(
            "untested-classes",
            "the test set has no example of one or more of the model's classes.",
            "Accuracies are over the other classes alone: nothing shows how well these are stolen, nor what a defense does to"
            " their users.",
            "Add labelled inputs of these classes to the test set; the report's assumptions name them.",
        ),
        Flag(
            "weak-thief",
            "with no defense and the largest budget, even the best thief gets less than 30 % of the way from"
            " guessing to the victim's accuracy.",
            "The thieves barely work here, so a low clone accuracy says nothing about a defense.",
            "Use a larger budget, a pool closer to the victim's data or a stronger student before comparing defenses.",
            voids=True,
        ),
        Flag(
            "unanswered",
            "more than 1 % of the inputs that the thief sent got no answer that can be read.",
            "The thief paid for fewer answers than the budget says, perhaps without those of one kind of input, so the clone"
            " may be worse than one of as many answered queries.",
            "Look at the warnings of the run, which quote what the target said, and at the size and scale of the inputs.",
        ),
        Flag(
            "no-better-than-majority",
            "the model's accuracy on the test set is not above the share of the most frequent class.",
            "Always answering that class is right as often, so shares of this accuracy say little about a copy.",
            "Use a test set with the classes in equal parts, and check the order of the classes and the inputs' scale.",
        ),
        Flag(
            "clone-beats-victim",
            "a clone is clearly, and by more than a point, more accurate than the model it was stolen from.",
            "The model answers this test set worse than it could: it may see inputs or classes other than those it was made"
            " for.",
            "Check the scale and units of the inputs and the order of the classes before you trust a number.",
        ),
        Flag(
            "predict-differs",
            "for some test inputs the class that the model's own `predict` gives is not the most probable one of its"
            " `predict_proba`, as with the Platt scaling of scikit-learn's SVC.",
            "Accuracies here are those of the most probable class; whoever calls `predict` sees others.",
            'Declare answers = "labels" if users are given what `predict` says; or calibrate the model with'
            " CalibratedClassifierCV.",
        ),
        Flag(
            "labels-beat-posteriors",
            "a thief who looks only at labels does clearly better than one who uses the whole answer.",
            "The defense spoils the probabilities but not the labels: it protects no better than returning just the label.",
            "Compare with the defense `label`, and judge by the strongest thief.",
        ),
        Flag(
            "random-answers",
            "the same input, sent twice, got different answers.",
            "A thief can repeat each query and average the noise away.",
            "Derive the noise from the input and a key, and look at the averaging thief's row.",
        ),
        Flag(
            "utility-spent",
            "the defended accuracy is more than one point below the clean one.",
            "Honest users pay for the protection with wrong answers.",
            "Use the defense at a lower strength, or decide that the protection is worth the loss.",
        ),
        Flag(
            "harms-shifted-users",
            "under some benign shift of their inputs (see the report's table) honest users clearly lose more than 5 points of"
            " accuracy to the defense beyond what it costs them on the test set.",
            "Users a little unlike the training data, with a thicker pen or a darker picture, pay for the protection; the"
            " test set does not show it.",
            "Look at which shift it is; use the defense at a lower strength, or calibrate it on inputs like those users'.",
        ),
        Flag(
            "broken-promise",
            "some answer breaks a guarantee that the defense gives for every answer: on its top class, its L1 distance or its"
            " confidence.",
            "Users who rely on this guarantee are misled, and so is every argument built on it, such as the label floor.",
            "Look at `broken` in the results; fix the defense, or withdraw the guarantee.",
        ),
        Flag(
            "budget-flat",
            "the largest budget steals hardly more than the next smaller one (less than half a point).",
            "Either the theft is saturated or the thief is broken: more queries would not help.",
            "Look at the curve; if it is flat far below the victim, try another pool or another thief.",
        ),
        Flag(
            "same-architecture",
            "the clone has the victim's architecture.",
            "This is the best case for the thief, who seldom knows the architecture.",
            "Try another student as well.",
        ),
        Flag(
            "cut-short",
            "the budget ran out before an exact attack was finished.",
            "The copy holds only part of what the attack recovers; the rest is guessed.",
            "Give the attack a larger budget; `queries` of a cell that finished shows how many it needs.",
        ),
        Flag(
            "id-collisions",
            "a tree attack saw one answer come from several leaves.",
            "Splits between leaves with the same answer can stay hidden, so the copy may lack some.",
            "Query more points on every line, as `tree_paths:probes=4` does, and look at the fidelity on uniform inputs.",
        ),
        Flag(
            "hidden-splits",
            "on random inputs, queried at the end of a tree attack, its copy answers differently from the model.",
            "The copy lacks splits of the tree, or the answers are perturbed.",
            "Query more points on every line, as `tree_paths:probes=4` does.",
        ),
        Flag(
            "single-seed",
            "the run has only one seed.",
            "How much results vary from seed to seed is unknown; the interval reflects only the size of the test set.",
            "Use --seeds 3 or more before quoting a difference.",
        ),
        Flag(
            "no-adaptive-thief",
            "the defense faced no thief made to undo it: none who learns from labels, if it keeps the thief's labels; none"
            " who recovers the clean answers, if it changes them.",
            "A thief who knows the defense may get a better clone than any measured here.",
            "Add such a thief before you trust the number.",
        ),
        Flag(
            "labels-beat-undefended",
            "with no defense, a thief who looks only at labels is more than one point better than the soft thief.",
            "The soft thief is broken or badly trained here, since probabilities tell more than labels do.",
            "Train the soft thief longer or with another student before you quote that number; the strongest thief's stands.",
        ),
        Flag(
            "control-learns",
            "a clone of shuffled answers is clearly more than ten points better than the most frequent class.",
            "The clone learns from something besides the answers, so every accuracy here may be too high.",
            "Do not use the run; look for test inputs or labels in the pool, and report it as a bug.",
            voids=True,
        ),
        Flag(
            "below-floor",
            "a defense changed no label on the thief's queries, yet the strongest thief is clearly below the label floor.",
            "This should be impossible: a thief who learns from labels sees the same labels as without a defense.",
            "Run the same thieves with and without the defense; if you did, report it as a bug.",
        ),
        Flag(
            "free-anyway",
            "at the largest budget the strongest thief's accuracy is not above that of the zero-query clone, or the zero-query"
            " clone lies within the strongest thief's interval.",
            "The thief has as good a copy without asking, so their queries are worth nothing to them, and no defense can take"
            " anything away.",
            "Look at larger budgets and stronger thieves. If the flag stays, what there is to protect is not in the answers.",
        ),
        Flag(
            "helps-thief",
            "the strongest thief is clearly better against the defense than against none.",
            "The defense gives something away, or the thief was lucky.",
            "Use more seeds; if the flag stays, do not use the defense.",
        ),
    )
}
