'use strict';
// The schema's names are the same in all languages, in snake_case; here they are written as JavaScript does.

/** `gap_ms` -> `gapMs`. */
const camel = (name) => name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());

/** `gapMs` -> `gap_ms`. */
const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/**
 * What the engine told, with the names of its fields as JavaScript writes them. It is changed in place, and only where a name is another one:
 * an answer may have thousands of objects.
 */
function fromSchema(value) {
  if (Array.isArray(value)) {
    for (const each of value) fromSchema(each);
  } else if (value !== null && typeof value === 'object') {
    for (const name of Object.keys(value)) {
      const field = fromSchema(value[name]);
      if (!name.includes('_')) continue;
      delete value[name];
      value[camel(name)] = field;
    }
  }
  return value;
}

/** Settings as the schema names them; those that are `undefined` are left out. */
function toSchema(options) {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([name, value]) => [snake(name), value]));
}

module.exports = { fromSchema, toSchema };
