'use strict';
// The schema's names are the same in all languages, in snake_case; here they are written as JavaScript does.

/** `gap_ms` -> `gapMs`. */
const camel = (name) => name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());

/** `gapMs` -> `gap_ms`. */
const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** What the engine told, with the names of its fields as JavaScript writes them. */
function fromSchema(value) {
  if (Array.isArray(value)) return value.map(fromSchema);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [camel(name), fromSchema(field)]));
}

/** Settings as the schema names them; those that are `undefined` are left out. */
function toSchema(options) {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([name, value]) => [snake(name), value]));
}

module.exports = { fromSchema, toSchema };
