// @ts-check
// All texts of the page, in English and French, and how numbers and dates are written.

/** @type {Record<string, [string, string]>} */
const WORDS = {
  explore: ["Explore", "Explorer"],
  duplicates: ["Duplicates", "Doublons"],
  review: ["Review", "Relecture"],
  statistics: ["Statistics", "Statistiques"],
  compare: ["Compare", "Comparer"],
  rooms: ["Rooms", "Pièces"],
  filters: ["Filters", "Filtres"],
  map: ["Map", "Carte"],
  gallery: ["Gallery", "Galerie"],
  detail: ["Detail", "Détail"],
  search: ["Search by text, or drop a picture", "Chercher par texte, ou déposer une image"],
  searchLabel: ["Search", "Chercher"],
  undo: ["Undo", "Annuler"],
  nothingToUndo: ["Nothing to undo", "Rien à annuler"],
  decisions: ["{n} decisions · Export", "{n} décisions · Exporter"],
  decision1: ["1 decision · Export", "1 décision · Exporter"],
  decision0: ["No decisions yet", "Aucune décision"],
  of: ["{n} of {all}", "{n} sur {all}"],
  points: ["{all} points · {n} match · {s} selected", "{all} points · {n} retenus · {s} sélectionnés"],
  pointsOfObjects: ["{all} objects · {n} pictures match · {s} selected", "{all} objets · {n} images retenues · {s} sélectionnées"],
  pictures: ["{n} pictures", "{n} images"],
  picture1: ["1 picture", "1 image"],
  colour: ["Colour", "Couleur"],
  sort: ["Sort", "Tri"],
  size: ["Size", "Taille"],
  boxes: ["Boxes", "Cadres"],
  masks: ["Masks", "Masques"],
  mapOf: ["Map of", "Carte des"],
  picturesPlane: ["Pictures", "Images"],
  openPicture: ["Show the picture large", "Voir l'image en grand"],
  cluster: ["Cluster", "Groupe"],
  captions: ["Captions", "Légendes"],
  inOrder: ["dataset's order", "ordre du jeu"],
  bestMatch: ["best match first", "meilleures d'abord"],
  ascending: ["ascending", "croissant"],
  descending: ["descending", "décroissant"],
  subset: ["Subset", "Sous-ensemble"],
  class: ["Class", "Classe"],
  tags: ["Tag", "Étiquette"],
  alignment: ["Alignment", "Alignement"],
  match: ["Match", "Ressemblance"],
  decision: ["Decision", "Décision"],
  reason: ["Reason", "Raison"],
  added: ["Added", "Ajout"],
  confidence: ["Confidence", "Confiance"],
  objects: ["Objects", "Objets"],
  annotated: ["Annotations", "Annotations"],
  width: ["Width", "Largeur"],
  height: ["Height", "Hauteur"],
  cosine: ["cosine", "cosinus"],
  utc: ["UTC", "UTC"],
  pixels: ["pixels", "pixels"],
  undecided: ["undecided", "non décidé"],
  proposed: ["proposed to drop", "suppression proposée"],
  kept: ["kept by you", "gardé par vous"],
  dropped: ["dropped by you", "écarté par vous"],
  more: ["{n} more", "{n} de plus"],
  fewer: ["fewer", "moins"],
  wordsInCaptions: ["Words in captions", "Mots des légendes"],
  region: ["Region", "Zone"],
  remove: ["Remove filter {name}", "Retirer le filtre {name}"],
  clearAll: ["Clear all filters", "Retirer tous les filtres"],
  noMatch: ["No picture matches.", "Aucune image ne correspond."],
  lift: ["Lift", "Lever"],
  keep: ["Keep", "Garder"],
  drop: ["Drop", "Écarter"],
  keepN: ["Keep {n}", "Garder {n}"],
  dropN: ["Drop {n}", "Écarter {n}"],
  tag: ["Tag …", "Étiqueter …"],
  tagN: ["Tag {n}", "Étiqueter {n}"],
  untagN: ["Untag {n}", "Ôter de {n}"],
  tagName: ["Name of the tag", "Nom de l'étiquette"],
  similar: ["Similar", "Semblables"],
  runTool: ["Run a tool …", "Lancer un outil …"],
  selected: ["{n} selected", "{n} sélectionnées"],
  clearSelection: ["Clear selection", "Vider la sélection"],
  selectAll: ["Select all", "Tout sélectionner"],
  common: ["What they have in common", "Ce qu'elles ont en commun"],
  pickOne: ["Pick a picture to see it in full.", "Choisissez une image pour la voir en entier."],
  id: ["Id", "Id"],
  file: ["Picture", "Image"],
  nearest: ["Nearest", "Plus proches"],
  similarity: ["similarity", "similarité"],
  history: ["History", "Historique"],
  noHistory: ["Nothing was decided or proposed.", "Rien n'a été décidé ni proposé."],
  you: ["you", "vous"],
  rank: ["rank {n} of {all}", "rang {n} sur {all}"],
  captionScale: ["alignment; line = threshold", "alignement ; trait = seuil"],
  pictureMissing: ["The picture cannot be shown", "L'image ne peut pas être montrée"],
  zoomIn: ["Zoom in", "Zoomer"],
  zoomOut: ["Zoom out", "Dézoomer"],
  rectangle: ["Select a rectangle", "Sélectionner un rectangle"],
  lasso: ["Select with a lasso", "Sélectionner au lasso"],
  fit: ["Show all", "Tout montrer"],
  mapLabel: [
    "Map of all pictures: similar ones lie together. Arrows move, plus and minus zoom. The gallery lists the same pictures.",
    "Carte de toutes les images : les semblables sont proches. Flèches : déplacer, plus et moins : zoomer. La galerie liste les mêmes images.",
  ],
  noMap: ["Pictures have no places yet. This command gives them some; then reload:", "Les images n'ont pas encore de place. Cette commande leur en donne ; puis rechargez :"],
  copies1: ["1 group", "1 groupe"],
  copies: ["{n} groups", "{n} groupes"],
  reviewed: ["{n} reviewed", "{n} relus"],
  all: ["all", "tous"],
  leaks: ["leaks", "fuites"],
  sameBytes: ["same bytes", "octets égaux"],
  otherLabel: ["other label", "autre classe"],
  sideBySide: ["Side by side", "Côte à côte"],
  slider: ["Slider", "Curseur"],
  blink: ["Blink", "Clignoter"],
  heat: ["Difference", "Différence"],
  whatDiffers: ["What differs", "Ce qui diffère"],
  amplified: ["both at {x} × {y}, ×{n}", "toutes deux en {x} × {y}, ×{n}"],
  stays: ["stays", "reste"],
  keepThis: ["Keep this instead", "Garder plutôt celle-ci"],
  why: ["Why they are one group", "Pourquoi elles forment un groupe"],
  stake: ["What is at stake", "Ce qui est en jeu"],
  accept: ["Accept", "Accepter"],
  accepted: ["accepted by you", "accepté par vous"],
  refused: ["refused by you", "refusé par vous"],
  acceptAll: ["Accept the {n} left", "Accepter les {n} restantes"],
  notDuplicates: ["Not duplicates", "Pas des doublons"],
  refuse: ["Refuse", "Refuser"],
  skip: ["Skip", "Passer"],
  takeOut: ["Take {x} out of the group", "Sortir {x} du groupe"],
  splitHint: ["Tick what shows something else, to split it off.", "Cochez ce qui montre autre chose, pour le séparer."],
  split1: ["Keep it: it belongs to no group", "La garder : elle n'est d'aucun groupe"],
  splitN: ["Split {n} off as a group", "Séparer {n} en un groupe"],
  groupOf: ["Group {n} of {all}", "Groupe {n} sur {all}"],
  proposalOf: ["Proposal {n} of {all}", "Proposition {n} sur {all}"],
  next: ["next", "suivant"],
  back: ["back", "précédent"],
  noGroups: ["No duplicates are known. Run the tool to look for them.", "Aucun doublon connu. Lancez l'outil pour en chercher."],
  findDuplicates: ["Find duplicates", "Chercher les doublons"],
  noProposals: ["Nothing waits for review. Run a tool to get proposals.", "Rien à relire. Lancez un outil pour obtenir des propositions."],
  allReviewed: ["All is reviewed.", "Tout est relu."],
  labels: ["Labels", "Classes"],
  theSame: ["the same: {x}", "les mêmes : {x}"],
  differ: ["{x} and {y}", "{x} et {y}"],
  none: ["none", "aucune"],
  subsets: ["Subsets", "Sous-ensembles"],
  resolution: ["Resolution", "Résolution"],
  leak: ["leak: one picture is in both {x} and {y}", "fuite : une image est dans {x} et {y}"],
  score: ["Score", "Score"],
  threshold: ["threshold {n}", "seuil {n}"],
  explanation: ["Explanation", "Explication"],
  meanDifference: ["Mean difference", "Différence moyenne"],
  largestDifference: ["Largest difference", "Plus grande différence"],
  nothingDecided: ["Nothing is decided yet: keep, drop or tag pictures, or accept what a tool proposes.", "Rien n'est encore décidé : gardez, écartez ou étiquetez des images, ou acceptez ce qu'un outil propose."],
  exportTitle: ["Take it home", "Emporter"],
  exportNote: [
    "Nothing is deleted: decisions are written down, your files stay as they are. This command applies them:",
    "Rien n'est supprimé : les décisions sont notées, vos fichiers restent tels quels. Cette commande les applique :",
  ],
  copy: ["Copy", "Copier"],
  copied: ["Copied", "Copié"],
  downloadDecisions: ["Download decisions.jsonl", "Télécharger decisions.jsonl"],
  downloadIds: ["Download ids of {n}", "Télécharger {n} ids"],
  exportAs: ["Write a dataset", "Écrire un jeu de données"],
  whatRemains: ["what remains after decisions ({n})", "ce qui reste après décisions ({n})"],
  theSelection: ["the selection ({n})", "la sélection ({n})"],
  whatMatches: ["what matches ({n})", "ce qui correspond ({n})"],
  format: ["Format", "Format"],
  folder: ["New folder", "Nouveau dossier"],
  write: ["Write {n} items", "Écrire {n} éléments"],
  written: ["Written to {path}", "Écrit dans {path}"],
  helpTitle: ["Keys", "Touches"],
  close: ["Close", "Fermer"],
  tools: ["Run a tool", "Lancer un outil"],
  onWhat: ["On", "Sur"],
  what: ["Items", "Éléments"],
  tool: ["Tool", "Outil"],
  looking: ["A tool is running; what it proposes is shown here when it has ended.", "Un outil tourne ; ses propositions seront montrées ici à la fin."],
  everything: ["everything ({n})", "tout ({n})"],
  run: ["Run", "Lancer"],
  cancel: ["Cancel", "Annuler"],
  proposals: ["{n} proposals", "{n} propositions"],
  offline: ["The service does not answer. What you typed is kept; trying again …", "Le service ne répond pas. Votre saisie est gardée ; nouvel essai …"],
  conflict: ["Somebody else has decided meanwhile. Their decisions are loaded; decide again.", "Quelqu'un d'autre a décidé entre-temps. Ses décisions sont chargées ; recommencez."],
  changedStore: ["The store has changed. Reload to see it.", "Le magasin a changé. Rechargez pour le voir."],
  reading: ["Reading the store; the first time, 100,000 pictures take some seconds …", "Lecture du magasin ; la première fois, 100 000 images demandent quelques secondes …"],
  writing: ["Writing …", "Écriture …"],
  loading: ["Loading {store} …", "Chargement de {store} …"],
  store: ["Store", "Magasin"],
  theme: ["Light or dark", "Clair ou sombre"],
  emptyStore: ["This store is empty. Fill it:", "Ce magasin est vide. Remplissez-le :"],
  countBy: ["Items by {x}", "Éléments par {x}"],
  overlap: ["Overlap of subsets", "Recouvrement des sous-ensembles"],
  overlapNote: [
    "How like an item of a row is to its most similar other item in the column: the median cosine, and the share that is as good as a copy, from {x} on.",
    "Ressemblance d'un élément de la ligne à son plus semblable dans la colonne : cosinus médian, et part de quasi-copies, à partir de {x}.",
  ],
  coverage: ["Coverage", "Couverture"],
  coverageOf: ["Coverage by {x}", "Couverture par {x}"],
  coverageNote: [
    "How like each item ({n} drawn evenly) is to the most similar one of these, beside as many drawn at random: the higher, the better they stand for all.",
    "Ressemblance de chaque élément ({n} tirés régulièrement) au plus semblable d'entre eux, à côté d'autant tirés au hasard : plus c'est haut, mieux ils représentent l'ensemble.",
  ],
  coverageOfAfter: ["Drop something, to see how well the rest stands for all.", "Écartez quelque chose, pour voir à quel point le reste représente l'ensemble."],
  coverageOfAll: ["Filter, to see how well what matches stands for all.", "Filtrez, pour voir à quel point ce qui correspond représente l'ensemble."],
  mean: ["mean", "moyenne"],
  lowest: ["lowest 5 %", "5 % les plus bas"],
  atRandom: ["as many at random", "autant au hasard"],
  compareWith: ["Compare with", "Comparer avec"],
  shares: ["as shares of each", "en parts de chacun"],
  whole: ["all", "tout"],
  matching: ["what matches", "ce qui correspond"],
  before: ["Before", "Avant"],
  after: ["After decisions", "Après décisions"],
  named: ["{x}: {n}", "{x} : {n}"],
  exact_duplicate: ["exact duplicate", "doublon exact"],
  near_duplicate: ["near duplicate", "quasi-doublon"],
  semantic_duplicate: ["semantic duplicate", "doublon sémantique"],
  same_picture: ["same picture", "même image"],
  outlier: ["outlier", "cas atypique"],
  wrong_label: ["wrong label", "classe erronée"],
  mismatch: ["mismatch", "discordance"],
  unreadable: ["unreadable", "illisible"],
  blank: ["blank", "unie"],
  too_small: ["too small", "trop petite"],
  odd_shape: ["odd shape", "forme étrange"],
  no_picture: ["no picture", "sans image"],
  no_text: ["no text", "sans texte"],
  no_caption: ["no caption", "sans légende"],
  not_picked: ["not picked", "non retenue"],
  unsure: ["unsure", "incertaine"],
  representative: ["representative", "représentante"],
  aligned: ["aligned", "alignée"],
  picked: ["picked", "retenue"],
  classified: ["classified", "classée"],
  hit: ["hit", "trouvée"],
  no_hit: ["no hit", "non trouvée"],
  keyAccept: ["accept", "accepter"],
  keyRefuse: ["refuse", "refuser"],
  keySkip: ["skip", "passer"],
  keyNext: ["next", "suivant"],
  keyBack: ["back", "précédent"],
  keyMove: ["move", "se déplacer"],
  keySelect: ["select", "sélectionner"],
  keyOpen: ["open", "ouvrir"],
  keyHelp: ["all keys", "toutes les touches"],
};

export const language = (navigator.language || "en").toLowerCase().startsWith("fr") ? "fr" : "en";
const place = language === "fr" ? 1 : 0;

/**
 * A text by its name; each `{name}` in it is replaced by a value, numbers as the language writes them.
 * @param {string} name
 * @param {Record<string, string | number>} [values]
 */
export function say(name, values = {}) {
  const text = WORDS[name]?.[place] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, key) => {
    const value = values[key];
    return typeof value === "number" ? count(value) : String(value ?? "");
  });
}

/** Write a tool's reason in words. @param {string} reason */
export function spoken(reason) {
  return isSaid(reason) ? say(reason) : reason.replaceAll("_", " ");
}

/** Whether a name is in the table. @param {string} name */
export function isSaid(name) {
  return name in WORDS;
}

const whole = new Intl.NumberFormat(language);
const rough = new Intl.NumberFormat(language, { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
const thousandths = new Intl.NumberFormat(language, { minimumFractionDigits: 3, maximumFractionDigits: 3 });
const day = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const moment = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** @param {number} number */
export function count(number) {
  return Number.isInteger(number) ? whole.format(number) : rough.format(number);
}

/** Write a cosine or another score. @param {number | undefined} number */
export function score(number) {
  return number === undefined || number === null || Number.isNaN(number) ? "–" : thousandths.format(number);
}

const hundredths = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 });

/** @param {number} share */
export function percent(share) {
  return hundredths.format(share);
}

/** @param {number} seconds since 1970, UTC */
export function date(seconds) {
  return day.format(seconds * 1000);
}

/** @param {string} iso */
export function time(iso) {
  const at = new Date(iso);
  return Number.isNaN(at.getTime()) ? iso : moment.format(at);
}
