// How the search of the site ranks what it finds. Sphinx puts entries of the glossary above all
// titles; here a page whose title holds the words comes first, then the glossary.
var Scorer = {
  score: ([docname, title, anchor, description, score]) =>
    score + (anchor === "" && score >= Scorer.title ? 100 : 0),
  // The rest are Sphinx's own weights.
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
