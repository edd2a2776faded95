// Holds the state and tells who listens. The only place where state is replaced.

export function createStore(reduce, initial) {
  let state = initial;
  const listeners = [];
  return {
    get: () => state,
    subscribe: (listener) => listeners.push(listener),
    dispatch(event) {
      const before = state;
      state = reduce(before, event);
      if (state === before) return;
      for (const listener of listeners) listener(state, before, event);
    },
  };
}
