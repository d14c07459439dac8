// Package expr is the ${…} language: templates compiled once, the references that they make, and their values.
//
// A template is any value of the compose file. ${…} in its strings is evaluated, in lists and maps all through:
//
//	${body.items[0].id}  ${body.items[-1]}  ${body.items[*].id}  ${body["odd key"]}  ${gateway:8090.public_url}
//
// A string that is one ${…} keeps the type of its value, and what is missing is null. Within text a value is written
// as text, and what is missing is empty. $${ is a literal ${.
//
// # Defaults and conversions
//
// What stands behind | is used for null and missing, not for "", 0 or false: a text in quotes, a number, true, false,
// null, a list or map as JSON, another ${…}, or words, which are text and may hold ${…}:
//
//	${input.size | "1024x1024"}  ${env.PORT | 22}  ${env.KEY | ${env.HOME}/.ssh/id_rsa}  ${env.A | ${env.B} | none}
//
// as text, number, integer, boolean, json and base64 convert a value, before the default or behind it; a default is
// converted as well. Null stays null, and what cannot be converted is an error.
//
//	${query.page as integer | 1}
//
// # Expressions
//
// Operators and functions are those of expr-lang (https://expr-lang.org/docs/language-definition), with paths for
// operands, or a ${…} where an operand needs a default or a conversion:
//
//	${output.before - output.after}  ${upper(input.name)}  ${input.n > 3 ? "many" : "few"}  ${ ${input.n | 1} * 2 }
//
// Operators have blanks on both sides: a-b is one name. What differs from expr-lang:
//
//   - Integers are exact, whatever their size (up to 1000 digits): no overflow. 6 / 3 is the integer 2, 7 / 2 is 3.5.
//     With a fraction on either side all is float64; so are numbers that were written with one, such as 1.10.
//     Numbers are compared by what they amount to, without losing a digit.
//   - null may be written for nil. A missing path is null: an error as an operand of arithmetic or of < and >, false
//     as a condition, equal to null alone. x.y and x[y] of null are null.
//   - Texts are counted in characters, also by indexOf and [from:to]. keys, values and toPairs are in order of keys.
//     toJSON writes no blanks. Times and durations end as text.
//   - Only what is needed is read: of c ? a : b one branch.
//   - An evaluation that would take more than 64 MiB, lists of more than a million items, or two million rounds
//     through lists, ends with an error.
//
// # Spreading
//
// The key "..." puts a map's entries (or those of several, in a list) into a map, where entries that are written out
// count more. A list item "...${…}" puts a list's items in its place. Null spreads as nothing.
package expr
