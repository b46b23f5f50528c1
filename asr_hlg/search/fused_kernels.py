"""Kernels of the search in tensors: a frame of a batch in seven launches.

A kernel is a loop over independent items (tokens, arcs, links), divided among threads; on the CPU
there is one. No kernel depends on the order of items, and none reads what another item of the same
launch writes, but for bounds that only rise. The arguments of all frames are the same: which frame
it is, is in ``work.now``.

What a frame does is described in :mod:`asr_hlg.search.kernels`. Tokens with the same state and
label are found by a hash table. Arrays are taken out of their tuples before a loop: in the loop,
numba would count references to them.
"""

from __future__ import annotations

from numba import njit

from asr_hlg.search.fused_device import (
    atomic_add,
    atomic_max,
    emission,
    insert,
    lane,
    num_lanes,
    num_threads,
    num_warps,
    pair_of,
    put_candidate,
    put_end,
    put_source,
    thread,
    warp,
)
from asr_hlg.search.fused_records import (
    BLANK_IDS,
    BLANK_LINKS,
    BLANKS,
    CANDIDATES,
    FIRST,
    LATER,
    LINKS,
    MOST_BLANKS,
    MOST_CANDIDATES,
    MOST_SOURCES,
    SOURCES,
    STAMP,
    TOKENS,
    Work,
)
from asr_hlg.search.prefetch import prefetch
from asr_hlg.search.records import NONE, REPEAT, GraphArrays, Limits

NEG_INF, INF = float("-inf"), float("inf")


@njit(nogil=True, cache=True)
def prune_tokens(graph: GraphArrays, work: Work, limits: Limits) -> None:
    """Find the best token, count active states, and list the blank tokens above the cutoff.

    Tokens of utterances that end before the frame are the ends of paths.
    """
    active, best = work.active, work.best
    blank_direct, blank_entry = work.blank_direct, work.blank_entry
    blank_score, blanks, bounds, counts = work.blank_score, work.blanks, work.bounds, work.counts
    cutoff, length, table = work.cutoff, work.length, work.table
    end_score, ends = work.end_score, work.ends
    token_score, tokens = work.token_score, work.tokens
    columns = work.relative.shape[2]
    eps_arcs, states = graph.eps_arcs, graph.states
    t = work.now[FIRST]
    side, stamp = t & 1, t + work.now[STAMP]
    begin, num_labels = bounds[t, 0], bounds[t + 1, 0] - bounds[t, 0]
    capacity = len(blanks) // 2
    num_blanks, old = min(counts[BLANKS + side], capacity), side * capacity
    for i in range(thread(), num_blanks + num_labels, num_threads()):
        if i >= num_blanks:
            token = begin + i - num_blanks
            utterance, state = tokens[token].utterance, tokens[token].state
            score = token_score[token]
            prefetch(eps_arcs, states[state].eps_first)
            if length[utterance] == t:
                put_end(counts, ends, end_score, token, state, utterance, score)
            atomic_max(best, utterance, score)
            atomic_add(active, utterance, 1)
            continue
        blank, score, entry = blanks[old + i], blank_score[old + i], blank_entry[old + i]
        utterance = blank.utterance
        if length[utterance] == t:
            id = -1 - int(blank.id)
            put_end(counts, ends, end_score, id, blank.state, utterance, score)
        if entry < cutoff[utterance]:
            continue
        atomic_max(best, utterance, score)
        if blank_direct[old + i]:
            atomic_add(active, utterance, 1)
        place = atomic_add(counts, BLANKS + 1 - side, 1)
        if place >= capacity:
            continue
        place_in_list = capacity - old + place
        kept = blanks[place_in_list]
        kept.state, kept.utterance, kept.id = blank.state, utterance, blank.id
        kept.reach = blank.reach
        blank_score[place_in_list], blank_entry[place_in_list] = score, entry
        blank_direct[place_in_list] = blank_direct[old + i]
        slot, _ = insert(table, stamp, pair_of(blank.state, 0, columns), utterance, len(best))
        table[2 * slot + 1] = place_in_list


@njit(nogil=True, cache=True)
def adapt_beams(graph: GraphArrays, work: Work, limits: Limits) -> None:
    """As in k2: too many active states narrow the beam, too few widen it, else it recovers."""
    now = work.now
    t = now[FIRST]
    side = t & 1
    search_beam, _, min_active, max_active = limits
    for u in range(thread(), len(work.beam), num_threads()):
        beam, active = work.beam[u], work.active[u]
        if active > max_active:
            work.beam[u] = 0.8 * min(beam, search_beam)
        elif active < min_active:
            work.beam[u] = 1.25 * max(beam, search_beam)
        else:
            work.beam[u] = 0.8 * beam + 0.2 * search_beam
        work.best_next[u] = INF if t >= work.length[u] else work.best[u]
        if u == 0:
            now[LATER] = t
            counts, most = work.counts, work.most
            most[MOST_SOURCES] = max(most[MOST_SOURCES], counts[SOURCES])
            most[MOST_CANDIDATES] = max(most[MOST_CANDIDATES], counts[CANDIDATES])
            most[MOST_BLANKS] = max(most[MOST_BLANKS], counts[BLANKS + side])
            counts[SOURCES] = counts[CANDIDATES] = counts[BLANKS + side] = 0


@njit(nogil=True, cache=True)
def estimate_best(graph: GraphArrays, work: Work, limits: Limits) -> None:
    """Lower bound on the best score after the frame.

    It is the best among repeated labels and the successors of the best token.
    """
    best, best_next, blank_score, blanks = work.best, work.best_next, work.blank_score, work.blanks
    bounds, counts, token_score, tokens = work.bounds, work.counts, work.token_score, work.tokens
    arcs, eps_arcs, states = graph.arcs, graph.eps_arcs, graph.states
    relative = work.relative
    best_emission_of = work.best_label
    t = work.now[LATER]
    side = t & 1
    begin, num_labels = bounds[t, 0], bounds[t + 1, 0] - bounds[t, 0]
    capacity = len(blanks) // 2
    num_blanks, new = min(counts[BLANKS + 1 - side], capacity), (1 - side) * capacity
    for i in range(warp(), num_labels + num_blanks, num_warps()):
        if i < num_labels:
            token = begin + i
            utterance, own_label = tokens[token].utterance, tokens[token].label
            state, score = tokens[token].state, token_score[token]
            eps = states[state].eps_first
            if eps < len(eps_arcs):
                prefetch(states, eps_arcs[eps].dst)
            repeated = score + emission(relative, t, utterance, own_label)
            atomic_max(best_next, utterance, repeated)
        else:
            blank, score = blanks[new + i - num_labels], blank_score[new + i - num_labels]
            utterance, state, own_label = blank.utterance, blank.state, 0 * blank.state
        if score < best[utterance]:
            continue
        best_emission = best_emission_of[t, utterance]
        for arc in range(states[state].first + lane(), states[state + 1].first, num_lanes()):
            read, added = arcs[arc].label, arcs[arc].score
            if score + best_emission + added <= best_next[utterance]:
                break  # arcs come in order of their scores, the largest first
            if read != own_label:
                after = score + emission(relative, t, utterance, read) + added
                atomic_max(best_next, utterance, after)


@njit(nogil=True, cache=True)
def find_sources(graph: GraphArrays, work: Work, limits: Limits) -> None:
    """Repeat labels, and list the states whose arcs may stay above the cutoff."""
    beam, best_next, blank_score, blanks = work.beam, work.best_next, work.blank_score, work.blanks
    bounds, candidate_score = work.bounds, work.candidate_score
    candidates, counts = work.candidates, work.counts
    source_score, sources = work.source_score, work.sources
    token_score, tokens = work.token_score, work.tokens
    arcs, eps_arcs, states = graph.arcs, graph.eps_arcs, graph.states
    relative = work.relative
    best_emission_of = work.best_label
    t = work.now[LATER]
    side = t & 1
    begin, num_labels = bounds[t, 0], bounds[t + 1, 0] - bounds[t, 0]
    capacity = len(blanks) // 2
    num_blanks, new = min(counts[BLANKS + 1 - side], capacity), (1 - side) * capacity
    for i in range(thread(), num_labels + num_blanks, num_threads()):
        if i >= num_labels:
            blank, score = blanks[new + i - num_labels], blank_score[new + i - num_labels]
            u = blank.utterance
            to_spare = score + best_emission_of[t, u] - (best_next[u] - beam[u])
            if to_spare + blank.reach >= 0:
                prefetch(arcs, states[blank.state].first)
                put_source(
                    counts,
                    sources,
                    source_score,
                    blank.state,
                    0,
                    u,
                    -1 - int(blank.id),
                    NONE,
                    score,
                )
            continue
        token = begin + i
        u, own_label = tokens[token].utterance, tokens[token].label
        state, score = tokens[token].state, token_score[token]
        cutoff = best_next[u] - beam[u]
        repeated = score + emission(relative, t, u, own_label)
        if repeated >= cutoff:
            put_candidate(
                counts,
                candidates,
                candidate_score,
                state,
                own_label,
                u,
                token,
                NONE,
                REPEAT,
                repeated,
            )
        to_spare = best_emission_of[t, u] - cutoff
        if score + to_spare + states[state].reach >= 0:
            prefetch(arcs, states[state].first)
            put_source(counts, sources, source_score, state, own_label, u, token, NONE, score)
        for eps in range(states[state].eps_first, states[state + 1].eps_first):
            target, eps_score = eps_arcs[eps].dst, score + eps_arcs[eps].score
            if eps_score + to_spare + states[target].reach >= 0:
                prefetch(arcs, states[target].first)
                put_source(
                    counts, sources, source_score, target, own_label, u, token, eps, eps_score
                )


@njit(nogil=True, cache=True)
def expand_arcs(graph: GraphArrays, work: Work, limits: Limits) -> None:
    """Follow the arcs of the listed states; raises the best score after the frame."""
    beam, best_next = work.beam, work.best_next
    candidate_score, candidates = work.candidate_score, work.candidates
    counts, source_score, sources = work.counts, work.source_score, work.sources
    arcs, states = graph.arcs, graph.states
    relative = work.relative
    best_emission_of = work.best_label
    t = work.now[LATER]
    num_sources = min(counts[SOURCES], len(sources))
    for i in range(warp(), num_sources, num_warps()):
        source, before = sources[i], source_score[i]
        u, own_label, src, eps = source.utterance, source.label, source.src, source.eps
        cutoff = best_next[u] - beam[u]
        to_spare = cutoff - before - best_emission_of[t, u]
        first, end = states[source.state].first, states[source.state + 1].first
        for arc in range(first + lane(), end, num_lanes()):
            added, read = arcs[arc].score, arcs[arc].label
            if added < to_spare:
                break  # arcs come in order of their scores, the largest first
            score = before + relative[t, u, read] + added
            if score < cutoff or read == own_label:
                continue
            put_candidate(
                counts, candidates, candidate_score, arcs[arc].dst, read, u, src, eps, arc, score
            )
            if score > best_next[u]:
                atomic_max(best_next, u, score)
                cutoff = best_next[u] - beam[u]


@njit(nogil=True, cache=True)
def recombine(graph: GraphArrays, work: Work, limits: Limits) -> None:  # noqa: C901 - a hot loop
    """Make a token of paths to the same state and label, and a link of each path.

    Tokens are put into the table here, and get their scores from :func:`link_tokens`, when all are
    there; until then a link leads to the token's slot in the table.
    """
    beam, best_next = work.beam, work.best_next
    blank_direct, blank_entry = work.blank_direct, work.blank_entry
    blank_links, blank_score = work.blank_links, work.blank_score
    blanks, bounds = work.blanks, work.bounds
    candidate_score, candidates = work.candidate_score, work.candidates
    counts, link_score = work.counts, work.link_score
    links, most, table, token_score = work.links, work.most, work.table, work.token_score
    tokens = work.tokens
    eps_arcs, states = graph.eps_arcs, graph.states
    t = work.now[LATER]
    stamp = t + work.now[STAMP]
    begin, num_labels = bounds[t, 0], bounds[t + 1, 0] - bounds[t, 0]
    columns, first_blank_link, side = work.relative.shape[2], bounds[t, 2], t & 1
    capacity = len(blanks) // 2
    num_candidates = min(counts[CANDIDATES], len(candidates))
    for i in range(thread(), num_candidates + num_labels, num_threads()):
        if i >= num_candidates:
            token = begin + i - num_candidates
            state, u = tokens[token].state, tokens[token].utterance
            if token_score[token] < best_next[u] - beam[u]:
                continue
            eps_begin = int(states[state].eps_first)
            for eps in range(eps_begin - 1, int(states[state + 1].eps_first)):
                target = state if eps < eps_begin else eps_arcs[eps].dst
                index = atomic_add(counts, BLANK_LINKS, 1)
                if index >= len(blank_links):
                    continue
                link = blank_links[index]
                if index - first_blank_link >= capacity:  # else the table could become full
                    atomic_max(most, MOST_BLANKS, capacity + 1)
                    link.dst = NONE
                    continue
                pair = pair_of(target, 0, columns)
                slot, is_new = insert(table, stamp, pair, u, len(best_next))
                if is_new:
                    place = min(atomic_add(counts, BLANKS + 1 - side, 1), capacity - 1)
                    place_in_list = (1 - side) * capacity + place
                    id = atomic_add(counts, BLANK_IDS, 1)
                    blank = blanks[place_in_list]
                    blank.state, blank.utterance, blank.id = target, u, id
                    blank.reach = states[target].reach
                    blank_score[place_in_list] = blank_entry[place_in_list] = NEG_INF
                    blank_direct[place_in_list] = 0
                    table[2 * slot + 1] = place_in_list
                link.src, link.dst, link.eps = token, slot, NONE if eps < eps_begin else eps
            continue
        candidate, score = candidates[i], candidate_score[i]
        state, label, u = candidate.state, candidate.label, candidate.utterance
        if score < best_next[u] - beam[u]:
            continue
        index = atomic_add(counts, LINKS, 1)
        if index >= len(links):
            continue
        slot, is_new = insert(table, stamp, pair_of(state, label, columns), u, len(best_next))
        if is_new:
            token = min(atomic_add(counts, TOKENS, 1), len(tokens) - 1)
            table[2 * slot + 1] = token
            prefetch(states, state)
            new = tokens[token]
            new.state, new.label, new.utterance = state, label, u
            token_score[token] = NEG_INF
        link = links[index]
        link.utterance, link.src, link.dst = u, candidate.src, slot
        link.eps, link.arc = candidate.eps, candidate.arc
        link_score[index] = score


@njit(nogil=True, cache=True)
def link_tokens(graph: GraphArrays, work: Work, limits: Limits) -> None:
    """Let the new links lead to tokens, and give tokens the best score of their links."""
    active, beam, best, best_next = work.active, work.beam, work.best, work.best_next
    blank_direct, blank_entry = work.blank_direct, work.blank_entry
    blank_links, blank_score = work.blank_links, work.blank_score
    blanks, bounds, counts, cutoff = work.blanks, work.bounds, work.counts, work.cutoff
    link_score, links = work.link_score, work.links
    table, token_score = work.table, work.token_score
    tokens = work.tokens
    eps_arcs = graph.eps_arcs
    cutoffs = work.cutoffs
    t = work.now[LATER]
    first, first_blank_link = bounds[t, 1], bounds[t, 2]
    end = min(counts[LINKS], len(links))
    blank_end = min(counts[BLANK_LINKS], len(blank_links))
    num_links, num_blank_links = end - first, blank_end - first_blank_link
    total = num_links + num_blank_links
    for i in range(thread(), total + len(beam), num_threads()):
        if i < num_links:
            link, score = links[first + i], link_score[first + i]
            link.dst = table[2 * link.dst + 1]
            atomic_max(token_score, link.dst, score)
        elif i < total:
            blank_link = blank_links[first_blank_link + i - num_links]
            if blank_link.dst == NONE:
                continue
            index, entry = table[2 * blank_link.dst + 1], token_score[blank_link.src]
            score = entry
            if blank_link.eps != NONE:
                score += eps_arcs[blank_link.eps].score
            else:
                blank_direct[index] = 1
            blank_link.dst = blanks[index].id
            atomic_max(blank_score, index, score)
            atomic_max(blank_entry, index, entry)
        else:
            u = i - total
            cutoff[u] = best_next[u] - beam[u]
            cutoffs[t, u] = cutoff[u]
            best[u], active[u] = NEG_INF, 0
            if u == 0:
                work.now[FIRST] = t + 1
                bounds[t + 2, 0] = min(counts[TOKENS], len(tokens) - 1)
                bounds[t + 1, 1], bounds[t + 1, 2] = end, blank_end
