"""From talk to pairs: which messages belong together, which ask, which answer, and how sure that is.

`threads` takes a channel's talk apart, `answers` finds question and answer in each thread, `cards` puts what
is alike together for moderators. Everything here proposes; nothing trains without a review.
"""
