"""A newsletter that mails researchers the new papers that matter to them.

The map, upwards: it is the life of a paper.

====================  =============================================================================
``clock errors``      time and trouble, as values
``db signing``        where rows live; how links prove where they came from
``papers``            a **paper** is one work; a **source** is where papers come from; a **pull** runs over sources
``subscribers``       a **subscriber** is pending, active or unsubscribed; **preferences** are what they asked for; what
                      strangers ask for (intake), what readers say of papers (ratings), what changed and who agreed
``embedding``         who says what texts mean, where anybody is asked
``ranking``           **interests** and papers in, **picks** (paper, score, reason) out; knows neither SQL nor mail
``issues``            an **issue** is the dated mail-out with a frozen window; a **digest** is one reader's part of it
``rendering``         templates, and the **typeset** issue from which messages are printed
``delivery``          a **delivery** is one mail to one subscriber; the ledger, signatures (DKIM), what a mail must be
                      like (lint), the **transports** to a relay, and the **pacing** of both: rate limits, warm-up
                      plans, circuit breakers
``tracking``          an **event** is what came back
``app``               the composition root; ``timekeeping``, one clock for all machines
``pulling``           every source asked, politely and at once; what an issue waits for
``learning``          by night: which terms are common, what is liked together
``replaying``         past days once more, to compare ways of ranking
``steering``          readers change what they get, pause, move; each step can be undone
``operating``         what the operator decides: issues held up, doubtful mails, restored databases; and what needs them
``membership``        readers join and leave; ``sampling`` shows what they would get, ``privacy`` what we know of them
``publishing``        what anybody may read: past issues and their hottest papers
``pipeline``          the story on one page: pull, open_issue, queue, deliver, sweep, tidy, learn
``rehearsal``         the story minus its last step; ``specimens``, each mail for readers whom there are not
``preview``           specimens in a browser, for who writes templates
``web`` ``cli``       how readers and admins reach it; ``worker``, beside this package, runs it on a schedule
====================  =============================================================================

Delivery states: ``queued → leased → handoff → sent``, or ``deferred``, ``failed``, ``skipped``, ``unknown``.
``sent`` means that our relay accepted it.
"""

__version__ = "0.1.0"
