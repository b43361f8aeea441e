/**
 * A class whose instances can be called: `instance(...args)` is `instance._call(...args)`.
 *
 * transformers' tokenizers and models are called like functions, and in JavaScript only a function can be: so this
 * constructor returns one, dressed in the class's prototype. Fields of derived classes, private ones too, land on it.
 * A derived class declares its call signature in an interface of its own name.
 */
export abstract class Callable {
  constructor() {
    const self = (...args: never[]): unknown => (self as unknown as Callable)._call(...args);
    // biome-ignore lint/correctness/noConstructorReturn: the instance must be a function
    return Object.setPrototypeOf(self, new.target.prototype) as Callable;
  }

  /** @internal */
  abstract _call(...args: never[]): unknown;
}
